package registry_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ofProviders is how the comment of a contract of providers begins, after its name.
var ofProviders = regexp.MustCompile(`^\w+ (is implemented (by providers|by a \[|beside \[)|marks an? )`)

// A contract that is not in the list of New has no protection from near misses, one that is not in the test's
// is not tested.
func TestEveryContractIsListed(t *testing.T) {
	t.Parallel()
	lists := map[string]string{"shape.go": "reflect.TypeFor[contracts.%]()", "registry_test.go": "\tcontracts.%\n"}
	for file := range lists {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, name := range providerContracts(t) {
			found++
			if !strings.Contains(string(text), strings.Replace(lists[file], "%", name, 1)) {
				t.Errorf("%s lacks the contract %s", file, name)
			}
		}
		if found < 20 {
			t.Errorf("the comments name only %d contracts", found)
		}
	}
}

// providerContracts are the interfaces of package contracts that providers implement, by their comments.
func providerContracts(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../pkg/contracts/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok || !ofProviders.MatchString(general.Doc.Text()) {
				continue
			}
			for _, spec := range general.Specs {
				if named, ok := spec.(*ast.TypeSpec); ok {
					names = append(names, named.Name.Name)
				}
			}
		}
	}
	return names
}
