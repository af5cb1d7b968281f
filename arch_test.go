package tributary_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tributaryhq/tributary/"

// mayImport is who may import whom inside the module. The longest path that covers a package is its rule, and a rule covers what is
// below the paths it names. Tests may import anything.
var mayImport = map[string][]string{
	// The public surface. The root package is called by its name.
	"tributary": {
		"db", "internal/bus", "internal/circuit", "internal/control/housekeeping", "internal/outbound", "internal/platform", "internal/postgres", "internal/secret", "pkg/contracts", "services/item-worker",
	},
	"pkg/contracts":    {},
	"pkg/events":       {"pkg/events"},
	"pkg/webhooks":     {"pkg/contracts"},
	"pkg/oauth2":       {"pkg/contracts", "internal/foreign"},
	"pkg/providertest": {"pkg/contracts", "pkg/providertest", "internal/outbound", "internal/redact", "internal/registry", "internal/validate"},
	"pkg/app": {
		"internal/api", "internal/bus", "internal/checkpoint", "internal/circuit", "internal/cli",
		"internal/embedded/dirlock", "internal/embedded/nats", "internal/embedded/postgres", "internal/outbound",
		"internal/platform", "internal/postgres", "internal/redact", "internal/secret", "internal/telemetry",
		"pkg/contracts", "pkg/events", "pkg/providertest/upstream", "tributary",
	},

	// A provider knows the contracts and nothing of the platform; their list knows all of them.
	"providers":  {"pkg/contracts", "providers"},
	"providers/": {"pkg/contracts", "pkg/webhooks", "pkg/oauth2"},

	// One package per technology.
	"db":                   {},
	"internal/foreign":     {},
	"internal/leak":        {},
	"internal/panics":      {"internal/foreign"},
	"internal/runstate":    {},
	"internal/registry":    {"pkg/contracts", "internal/panics", "internal/spelling"},
	"internal/secret":      {},
	"internal/spelling":    {},
	"internal/share":       {},
	"internal/httpserver":  {"internal/share"},
	"internal/telemetry":   {"internal/foreign", "internal/httpserver", "internal/panics"},
	"internal/watchdog":    {},
	"internal/budget":      {"pkg/contracts", "internal/cells", "internal/deferral", "internal/panics"},
	"internal/cells":       {},
	"internal/circuit":     {"pkg/contracts", "internal/cells", "internal/watchdog"},
	"internal/wire":        {"pkg/events"},
	"internal/bus":         {"pkg/events", "internal/wire", "internal/panics", "internal/telemetry", "internal/watchdog"},
	"internal/checkpoint":  {"pkg/contracts", "pkg/events", "internal/wire", "internal/bus", "internal/foreign", "internal/panics", "internal/cells"},
	"internal/deferral":    {"pkg/contracts"},
	"internal/redact":      {"pkg/contracts", "internal/foreign", "internal/panics"},
	"internal/requestlog":  {"pkg/contracts", "internal/foreign", "internal/panics", "internal/redact", "internal/watchdog"},
	"internal/vitals":      {"pkg/contracts", "internal/foreign", "internal/watchdog"},
	"internal/answers":     {"pkg/contracts"},
	"internal/idempotency": {"internal/cells", "internal/foreign"},
	"internal/outbound":    {"pkg/contracts", "internal/circuit", "internal/deferral", "internal/foreign", "internal/panics", "internal/redact", "internal/budget", "internal/requestlog", "internal/vitals", "internal/answers", "internal/idempotency"},
	"internal/validate":    {"pkg/contracts", "internal/foreign", "internal/panics", "internal/spelling"},
	"internal/postgres":    {"pkg/contracts", "internal/foreign", "internal/secret", "internal/postgres", "internal/watchdog", "internal/runstate"},

	// What several services share, and what they are asked over the network.
	"internal/items":        {"pkg/contracts", "pkg/events", "internal/wire", "internal/foreign", "internal/panics"},
	"internal/delivery":     {"pkg/contracts", "pkg/events", "internal/wire", "internal/foreign", "internal/secret"},
	"internal/announce":     {"pkg/events", "internal/wire", "internal/postgres"},
	"internal/directory":    {"pkg/contracts", "pkg/events", "internal/wire", "internal/bus", "internal/secret"},
	"internal/deaditems":    {"pkg/events", "internal/wire", "internal/foreign", "internal/postgres"},
	"internal/runs":         {"pkg/events", "internal/wire", "internal/runstate", "pkg/contracts", "internal/announce", "internal/checkpoint", "internal/foreign", "internal/health", "internal/loop", "internal/panics", "internal/postgres", "internal/registry", "internal/setaside", "internal/deferral"},
	"internal/setaside":     {"pkg/events", "internal/wire", "internal/foreign", "internal/panics", "internal/postgres", "internal/share"},
	"internal/loop":         {"internal/panics", "internal/postgres", "internal/watchdog"},
	"internal/readiness":    {"internal/panics"},
	"internal/integrations": {"pkg/contracts", "internal/circuit", "internal/foreign", "internal/outbound", "internal/postgres", "internal/redact", "internal/registry", "internal/watchdog"},
	"internal/health":       {"pkg/contracts", "pkg/events", "internal/announce", "internal/wire", "internal/circuit", "internal/deaditems", "internal/deferral", "internal/foreign", "internal/integrations", "internal/outbound", "internal/panics", "internal/postgres", "internal/redact", "internal/registry", "internal/setaside", "internal/vitals"},
	"internal/api":          {"pkg/events", "internal/wire", "internal/panics", "internal/share", "internal/runstate"},
	"internal/cli":          {"pkg/events", "internal/wire", "internal/api", "internal/runstate"},

	// The operators' side, which the scheduler's process runs.
	"internal/control": {
		"pkg/contracts", "pkg/events", "internal/wire", "internal/announce", "internal/api", "internal/budget", "internal/bus",
		"internal/checkpoint", "internal/circuit", "internal/control", "internal/deaditems", "internal/deferral",
		"internal/directory", "internal/foreign", "internal/health", "internal/integrations", "internal/loop",
		"internal/outbound", "internal/registry", "internal/panics", "internal/postgres", "internal/runstate",
		"internal/secret", "internal/setaside", "internal/validate", "internal/runs",
	},

	// A service knows no other service, and has a rule of its own.
	"services/item-worker": {
		"internal/batching", "internal/bus", "internal/checkpoint", "internal/deaditems", "internal/deferral",
		"internal/delivery", "internal/fate", "internal/foreign", "internal/handling", "internal/integrations",
		"internal/items", "internal/loop", "internal/postgres", "internal/redact", "internal/registry",
		"internal/setaside", "internal/suspects", "internal/watchdog", "internal/webhookwork", "internal/wire",
		"pkg/contracts", "pkg/events",
	},
	"services/scheduler": {
		"internal/announce", "internal/bus", "internal/checkpoint", "internal/deferral", "internal/foreign",
		"internal/health", "internal/loop", "internal/postgres", "internal/runs", "internal/setaside", "internal/suspects", "internal/wire",
		"pkg/events",
	},
	"services/syncer": {
		"internal/bus", "internal/checkpoint", "internal/deaditems", "internal/deferral", "internal/fate",
		"internal/foreign", "internal/integrations", "internal/items", "internal/outbound", "internal/panics",
		"internal/postgres", "internal/redact", "internal/registry", "internal/requestlog", "internal/runs",
		"internal/runstate", "internal/wire", "pkg/contracts", "pkg/events",
	},
	"services/token-refresher": {
		"internal/announce", "internal/api", "internal/bus", "internal/deferral", "internal/foreign", "internal/health",
		"internal/httpserver", "internal/integrations", "internal/loop", "internal/panics", "internal/postgres",
		"internal/redact", "internal/registry", "internal/secret", "internal/setaside", "internal/share",
		"internal/validate", "internal/wire", "pkg/contracts", "pkg/events", "pkg/oauth2",
	},
	"services/webhook-ingress": {
		"internal/bus", "internal/delivery", "internal/directory", "internal/httpserver", "internal/panics",
		"internal/registry", "internal/share", "internal/watchdog", "internal/wire", "pkg/contracts", "pkg/events",
	},
	"internal/platform": {
		"pkg/contracts", "pkg/events", "internal/wire", "services", "internal/api", "internal/bus", "internal/cells",
		"internal/checkpoint", "internal/circuit", "internal/control", "internal/deferral", "internal/delivery",
		"internal/directory", "internal/foreign", "internal/health", "internal/integrations",
		"internal/outbound", "internal/registry", "internal/postgres", "internal/readiness", "internal/secret",
		"internal/setaside", "internal/telemetry", "internal/validate", "internal/watchdog", "internal/budget",
		"internal/requestlog", "internal/vitals", "internal/answers", "internal/idempotency", "internal/runs",
	},

	// Servers for one machine and for one test, and real input for tests.
	"internal/embedded":        {"internal/embedded"},
	"internal/embedded/pgtest": {"internal/embedded", "db"},
	"internal/octokit":         {"pkg/providertest"},

	// What the item-worker, webhooks and others work with.
	"internal/batching": {"internal/postgres", "internal/watchdog"},
	"internal/suspects": {},
	"internal/fate":     {"pkg/contracts", "internal/deferral", "internal/foreign", "internal/suspects"},
	"internal/handling": {
		"pkg/contracts", "pkg/events", "internal/wire", "internal/budget", "internal/deferral", "internal/foreign", "internal/health", "internal/loop",
		"internal/panics", "internal/postgres", "internal/suspects", "internal/wire",
	},
	"internal/webhookwork": {
		"pkg/contracts", "pkg/events", "internal/batching", "internal/budget", "internal/bus", "internal/deferral", "internal/delivery",
		"internal/fate", "internal/foreign", "internal/handling", "internal/integrations", "internal/items", "internal/loop",
		"internal/panics", "internal/postgres", "internal/redact", "internal/registry", "internal/setaside", "internal/suspects",
		"internal/watchdog", "internal/wire",
	},

	"cmd":          {"pkg/app", "providers"},
	"cmd/testenv":  {"internal/embedded/postgres"},
	"bench":        {"pkg", "internal", "services", "providers", "db"},
	"internal/e2e": {"pkg", "internal", "services", "providers", "db"},
}

// onlyIn is where a library may be imported: what speaks to a server is kept in one place.
var onlyIn = map[string][]string{
	"github.com/nats-io/nats-server":       {"internal/embedded", "internal/e2e", "bench"},
	"github.com/nats-io/nats.go/jetstream": {"internal/wire", "internal/bus", "internal/checkpoint", "services/item-worker", "internal/e2e", "bench"},
	"github.com/jackc/pgx":                 {"db", "internal/postgres", "internal/embedded/pgtest", "internal/platform", "tributary", "pkg/app", "internal/e2e", "bench"},
	module + "internal/embedded/natstest":  {"internal/e2e"},
	module + "internal/embedded/pgtest":    {"internal/e2e"},
	module + "internal/e2e":                {"internal/e2e"},
	module + "internal/octokit":            {"internal/octokit"},
	"testing":                              {"internal/embedded/cable", "internal/embedded/natstest", "internal/embedded/pgtest", "internal/e2e", "pkg/providertest"},
}

const longestFile = 400 // lines

type listed struct {
	ImportPath, Dir, Doc                                        string
	GoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles, Imports []string
}

func (p listed) path() string { return path(p.ImportPath) }

// path is an import path inside of the module, such as internal/bus. That of the root package is its name.
func path(importPath string) string {
	if importPath+"/" == module {
		return "tributary"
	}
	return strings.TrimPrefix(importPath, module)
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		rule, found := ruleFor(p.path())
		if !found {
			t.Errorf("%s: no rule in mayImport says what it may import", p.path())
		}
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported+"/", module) {
				if !covered(path(imported), rule) {
					t.Errorf("%s must not import %s", p.path(), path(imported))
				}
			} else if p.path() == "pkg/contracts" && strings.Contains(imported, ".") {
				t.Errorf("%s must import the standard library only, not %s", p.path(), imported)
			}
			for library, places := range onlyIn {
				if covered(imported, []string{library}) && !covered(p.path(), places) {
					t.Errorf("%s must not import %s, which is for %s", p.path(), imported, strings.Join(places, ", "))
				}
			}
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 && !generatedWhole(t, p) {
			t.Errorf("%s has no package comment", p.path())
		}
		for _, name := range slices.Concat(p.GoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles) {
			file, lines := parse(t, filepath.Join(p.Dir, name))
			if ast.IsGenerated(file) {
				continue
			}
			if lines > longestFile {
				t.Errorf("%s/%s has %d lines, more than %d: it is more than one thing", p.path(), name, lines, longestFile)
			}
			for _, declaration := range file.Decls {
				if f, is := declaration.(*ast.FuncDecl); is && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s/%s has an init function", p.path(), name)
				}
			}
		}
	}
}

// unwatched are the functions with a ticker, or with a loop that waits for a channel, that package watchdog need not watch, and why.
var unwatched = map[string]string{
	"internal/readiness.Run":            "its results are stale, and so not ready, when it hangs",
	"internal/bus.beat":                 "it ends with its delivery",
	"internal/bus.drain":                "it ends by itself, soon after its watch",
	"internal/postgres.poll":            "its caller has each call watched",
	"services/syncer.heartbeat":         "it ends with its enumeration, and without it the run is driven again",
	"services/syncer.guardCall":         "it ends with its enumeration, and only compares times",
	"services/syncer.lingerLoop":        "it ends with its enumeration, whose window bounds it",
	"services/syncer.takeTurns":         "it ends with its enumeration, and only gives slots back",
	"services/item-worker.runTogether":  "it ends with its delivery",
	"services/item-worker.runCarefully": "it ends with its delivery",
	"services/item-worker.settle":       "it ends with its delivery",
	"internal/handling.watch":           "it ends with its round, and only compares times",
	"internal/webhookwork.giveBack":     "it only gives slots back",
	"services/syncer.wait":              "it ends with its enumeration, which the window bounds",
	"services/token-refresher.meet":     "it ends with its request, which has a time",
	"services/token-refresher.lease":    "it ends with its request, which has a time",
	"services/token-refresher.cast":     "it ends after some seconds",
	"services/token-refresher.insist":   "it ends with a grant's refresh, whose lease others take over",
	"internal/bus.take":                 "it only waits for a slot; a consumer that takes nothing for long is not moving",
	"internal/bus.pull":                 "a consumer that takes nothing for long is not moving",
	"internal/checkpoint.insist":        "its callers bound it, and each call has a time",
	"internal/budget.take":              "it ends with its request",
	"internal/outbound.RoundTrip":       "it ends with its request",
	"internal/requestlog.gather":        "it only waits; writing what it gathers is watched",
	"internal/requestlog.write":         "it only gives slots back; the insert is watched",
	"internal/postgres.Await":           "it ends when the process has started, and warns until then",
	"internal/share.Wait":               "it only waits for what others give back",
}

// TestLoopsAreWatched refuses a loop by a ticker or by a channel that does not run its steps through package watchdog:
// it could hang unseen.
func TestLoopsAreWatched(t *testing.T) {
	t.Parallel()
	unused := maps.Clone(unwatched)
	for _, p := range packages(t) {
		path := p.path()
		if !covered(path, []string{"services", "internal"}) || covered(path, []string{"internal/cli", "internal/e2e", "internal/embedded"}) {
			continue
		}
		for _, name := range p.GoFiles {
			file, _ := parse(t, filepath.Join(p.Dir, name))
			for _, declaration := range file.Decls {
				f, is := declaration.(*ast.FuncDecl)
				if !is || !names(f, "time", "NewTicker") && !names(f, "time", "Tick") && !loopReceives(f) {
					continue
				}
				key := path + "." + f.Name.Name
				if _, listed := unwatched[key]; listed {
					delete(unused, key)
				} else if !names(f, "watchdog", "Step") {
					t.Errorf("%s/%s: the loop of %s is not watched: use loop.Every, or run its steps through watchdog.Step", path, name, f.Name.Name)
				}
			}
		}
	}
	for key := range unused {
		t.Errorf("unwatched names %s, which has neither a ticker nor a loop that waits for a channel", key)
	}
}

// loopReceives reports whether a loop of a function receives from a channel, other than in a function literal.
func loopReceives(code ast.Node) (found bool) {
	ast.Inspect(code, func(n ast.Node) bool {
		var body *ast.BlockStmt
		switch loop := n.(type) {
		case *ast.ForStmt:
			body = loop.Body
		case *ast.RangeStmt:
			body = loop.Body
		default:
			return !found
		}
		ast.Inspect(body, func(n ast.Node) bool {
			_, literal := n.(*ast.FuncLit)
			receives, is := n.(*ast.UnaryExpr)
			found = found || is && receives.Op == token.ARROW
			return !literal && !found
		})
		return !found
	})
	return found
}

// names reports whether code names what a package holds, as in from.what.
func names(code ast.Node, from, what string) (found bool) {
	ast.Inspect(code, func(n ast.Node) bool {
		if made, ok := n.(*ast.SelectorExpr); ok && made.Sel.Name == what {
			if of, ok := made.X.(*ast.Ident); ok {
				found = found || of.Name == from
			}
		}
		return !found
	})
	return found
}

// ruleFor finds the longest path that covers the package. A path that ends in a slash covers what is below it, not itself.
func ruleFor(path string) (rule []string, found bool) {
	longest := -1
	for prefix, allowed := range mayImport {
		if (path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")) && len(prefix) > longest {
			rule, found, longest = allowed, true, len(prefix)
		}
	}
	return rule, found
}

func covered(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	})
}

func packages(t *testing.T) (all []listed) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Dir,Doc,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Imports", "./...")
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatal("go list:", err)
	}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal("go list:", err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list names %d packages only", len(all))
	}
	return all
}

func generatedWhole(t *testing.T, p listed) bool {
	t.Helper()
	return !slices.ContainsFunc(p.GoFiles, func(name string) bool {
		file, _ := parse(t, filepath.Join(p.Dir, name))
		return !ast.IsGenerated(file)
	})
}

func parse(t *testing.T, path string) (file *ast.File, lines int) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err = parser.ParseFile(token.NewFileSet(), path, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file, bytes.Count(content, []byte("\n"))
}
