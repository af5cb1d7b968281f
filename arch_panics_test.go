package tributary_test

import (
	"go/ast"
	"path/filepath"
	"slices"
	"testing"
)

// mayWait is where panics are caught of code that may go on for ever, and what bounds it there. Elsewhere the code of
// providers and handlers is called by panics.Within, which leaves it behind.
var mayWait = map[string]string{
	"internal/api/serve.go":                "an endpoint is the service's own",
	"internal/bus/consume.go":              "a message's handler is the service's own",
	"internal/items/checkpoint.go":         "its callers bound it: by ask, or by the provider's silence",
	"internal/items/items.go":              "an event is encoded while its provider or handler waits, which is bounded",
	"internal/loop/loop.go":                "a step is the service's own, and watched",
	"internal/setaside/setaside.go":        "a step is the service's own, and has a context with an end",
	"internal/setaside/workers.go":         "a step is the service's own, and others of its share alone wait for it",
	"internal/telemetry/telemetry.go":      "the text of an error",
	"internal/handling/order.go":           "within Ask: many records in one call",
	"internal/handling/runner.go":          "a round leaves handlers behind itself",
	"internal/webhookwork/finish.go":       "the worker's own code, which calls handlers by panics.Within",
	"services/syncer/enumerate.go":         "the syncer leaves an enumeration behind after its silence",
	"services/webhook-ingress/identity.go": "within ask: several calls in one",
	"services/webhook-ingress/request.go":  "within ask: several calls in one",
}

// TestForeignCode refuses new places where a panic of foreign code is caught and nothing bounds how long it takes.
func TestForeignCode(t *testing.T) {
	t.Parallel()
	waits := map[string]bool{}
	for _, p := range packages(t) {
		if !slices.Contains(p.Imports, module+"internal/panics") {
			continue
		}
		for _, name := range p.GoFiles {
			file, _ := parse(t, filepath.Join(p.Dir, name))
			ast.Inspect(file, func(n ast.Node) bool {
				if used, ok := n.(*ast.SelectorExpr); ok && (used.Sel.Name == "Try" || used.Sel.Name == "Catch") {
					if from, ok := used.X.(*ast.Ident); ok && from.Name == "panics" {
						waits[p.path()+"/"+name] = true
					}
				}
				return true
			})
		}
	}
	for place := range waits {
		if mayWait[place] == "" {
			t.Errorf("%s uses panics.Try or Catch: call the code of providers and handlers by panics.Within, or say in mayWait what bounds it", place)
		}
	}
	for place := range mayWait {
		if !waits[place] {
			t.Errorf("%s is in mayWait and needs it no more", place)
		}
	}
}
