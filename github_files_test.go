package tributary_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWorkflow refuses actions that are named by a tag, which can be moved, and a workflow that checks something else
// than .ci/run does.
func TestWorkflow(t *testing.T) {
	t.Parallel()
	text := readText(t, ".github/workflows/ci.yaml")
	uses := regexp.MustCompile(`uses: (\S+)`).FindAllStringSubmatch(text, -1)
	if len(uses) == 0 || !strings.Contains(text, "run: .ci/run\n") {
		t.Error("the workflow does not run .ci/run on a checkout")
	}
	pinned := regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40}$`)
	for _, found := range uses {
		if !pinned.MatchString(found[1]) {
			t.Errorf("%s is not pinned by the hash of a commit", found[1])
		}
	}
}

// TestDependabot compares the modules that dependabot updates with those of the tree.
func TestDependabot(t *testing.T) {
	t.Parallel()
	var modules []string
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "data" || entry.Name() == "testdata" || entry.Name() == ".git") {
			return filepath.SkipDir
		}
		if entry.Name() == "go.mod" {
			modules = append(modules, "/"+strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "."))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var updated []string
	directory := regexp.MustCompile(`(?m)^      - (/\S*)$`)
	for _, found := range directory.FindAllStringSubmatch(readText(t, ".github/dependabot.yml"), -1) {
		updated = append(updated, found[1])
	}
	slices.Sort(modules)
	slices.Sort(updated)
	if !slices.Equal(modules, updated) {
		t.Errorf("dependabot updates %v, and the modules are %v", updated, modules)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
