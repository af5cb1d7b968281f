package runs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// besides are the queries that write something of a run beside its state, and the packages that may call them as this
// one may.
var besides = map[string]string{
	"RunHeartbeat":       "services/syncer",               // that its syncer lives
	"RunHold":            "services/syncer",               // that its enumeration waits in place
	"RunTouch":           "services/scheduler",            // that its messages are still there
	"RunEndWaits":        "services/scheduler",            // that its wait is over
	"RunEntriesFreed":    "services/scheduler",            // that the bucket has nothing of it any more
	"TimesBringForward":  "services/scheduler",            // that its times were those of a clock that was ahead
	"RunFollowUp":        "internal/control/commands",     // which sync is to follow it
	"RunFollowUpSince":   "internal/control/commands",     // and from when
	"RunSetReduceFailed": "internal/control/commands",     // that its reducer is mended
	"RunPrune":           "internal/control/housekeeping", // that it is old enough to be forgotten
}

// TestNobodyElseWritesRuns looks for calls of the queries that write runs in all other packages.
func TestNobodyElseWritesRuns(t *testing.T) {
	t.Parallel()
	const root = "../.."
	allowed, called := map[string]string{}, map[string]bool{}
	for _, q := range queriesThatWriteRuns(t) {
		allowed[q.name] = besides[q.name]
	}
	for name := range besides {
		if _, writes := allowed[name]; !writes {
			t.Errorf("%s does not write runs", name)
		}
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		place := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), root+"/")
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			place == "internal/postgres/dbsqlc" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			// A method value or expression can be called as well.
			if method, ok := n.(*ast.SelectorExpr); ok {
				name := method.Sel.Name
				also, writes := allowed[name]
				called[name] = true
				if writes && place != "internal/runs" && place != also {
					t.Errorf("%s calls %s, and only package runs writes runs", filepath.ToSlash(path), name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range allowed {
		if !called[name] {
			t.Errorf("nobody calls %s: the test looks in the wrong place", name)
		}
	}
}
