package tributary_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tests of this file compare lists in the documents with what the sources have.

func TestTables(t *testing.T) {
	t.Parallel()
	sameNames(t, "tables of docs/architecture.md and of db/migrations",
		firstGroups(section(t, "docs/architecture.md", "## Tables"), "(?m)^\\| `([a-z_]+)` \\|"),
		firstGroups(migrations(t), `(?m)^create (?:unlogged )?table ([a-z_]+) \(`))
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	row := "(?m)^\\| `(tributary_[a-z]+)` \\|"
	sameNames(t, "buckets of docs/architecture.md and docs/subjects.md",
		firstGroups(section(t, "docs/architecture.md", "## Messages"), row),
		firstGroups(section(t, "docs/subjects.md", "## Buckets"), row))
}

func TestServices(t *testing.T) {
	t.Parallel()
	folders, err := os.ReadDir("services")
	if err != nil {
		t.Fatal(err)
	}
	var services []string
	for _, folder := range folders {
		services = append(services, folder.Name())
	}
	sameNames(t, "services of docs/architecture.md and of the tree",
		firstGroups(section(t, "docs/architecture.md", "## Services"), "(?m)^\\| `([a-z-]+)` \\|"), services)
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	var served []string
	constants := strings.NewReplacer(`g.Prefix+"`, `"/integrations`, `"+callbackPath`, `/integrations/oauth/callback"`)
	for _, pattern := range []string{"services/*/*.go", "internal/telemetry/*.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				served = append(served, firstGroups(constants.Replace(readText(t, path)),
					`mux\.Handle(?:Func)?\("((?:[A-Z]+ )?/\S+)"`)...)
			}
		}
	}
	sameNames(t, "endpoints of docs/operations.md and of the code",
		firstGroups(section(t, "docs/operations.md", "## Metrics and health"), "(?m)^\\| `((?:[A-Z]+ )?/\\S+)` \\|"),
		served)
}

// TestStates finds every state that a column may have in the diagram that a document has of it.
func TestStates(t *testing.T) {
	t.Parallel()
	diagram := regexp.MustCompile("(?s)<!-- states of ([a-z_]+)\\.([a-z_]+) -->\n```mermaid\n(.*?)```")
	known := 0
	for _, path := range []string{"docs/architecture.md", "docs/webhooks.md", "docs/oauth.md"} {
		for _, found := range diagram.FindAllStringSubmatch(readText(t, path), -1) {
			known++
			table, column, drawn := found[1], found[2], found[3]
			_, definition, _ := strings.Cut(migrations(t), "create table "+table+" (")
			states := regexp.MustCompile(`(?s)check \(` + column + ` in \((.*?)\)\)`).FindStringSubmatch(definition)
			if states == nil {
				t.Fatalf("%s: %s.%s has no states", path, table, column)
			}
			for _, state := range firstGroups(states[1], `'([a-z-]+)'`) {
				if !regexp.MustCompile(`(?m)(?:^|[ "])` + state + `(?:$|[ "])`).MatchString(drawn) {
					t.Errorf("%s: the diagram of %s.%s lacks the state %s", path, table, column, state)
				}
			}
		}
	}
	if known < 3 {
		t.Errorf("only %d diagrams were found", known)
	}
}

// migrations is the text of all migrations.
func migrations(t *testing.T) string {
	t.Helper()
	paths, err := filepath.Glob("db/migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, path := range paths {
		text.WriteString(readText(t, path))
	}
	return text.String()
}

// section is what stands below a heading of a document, up to the next one of its level.
func section(t *testing.T, path, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(readText(t, path), "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", path, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// firstGroups are the first groups of all matches.
func firstGroups(text, pattern string) (all []string) {
	for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, found[1])
	}
	return all
}

func sameNames(t *testing.T, what string, documented, have []string) {
	t.Helper()
	slices.Sort(documented)
	slices.Sort(have)
	if !slices.Equal(documented, have) || len(have) == 0 {
		t.Errorf("%s differ:\n%v\n%v", what, documented, have)
	}
}
