package tributary_test

import (
	"go/ast"
	"path/filepath"
	"slices"
	"testing"
)

// TestForeignTexts refuses conversions to foreign.Text outside its package: they would skip the cleaning. Literals may
// be converted.
func TestForeignTexts(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if !slices.Contains(p.Imports, module+"internal/foreign") {
			continue
		}
		for _, name := range p.GoFiles {
			file, _ := parse(t, filepath.Join(p.Dir, name))
			if ast.IsGenerated(file) {
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 1 {
					return true
				}
				made, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr)
				if _, literal := call.Args[0].(*ast.BasicLit); !ok || literal || made.Sel.Name != "Text" {
					return true
				}
				if from, ok := made.X.(*ast.Ident); ok && from.Name == "foreign" {
					t.Errorf("%s/%s makes a foreign.Text of a text that nobody has cleaned: use foreign.Of, Line, "+
						"Word or Clean", p.path(), name)
				}
				return true
			})
		}
	}
}
