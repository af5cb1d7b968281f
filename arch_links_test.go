package tributary_test

import (
	"os/exec"
	"strings"
	"testing"
)

// neverLinked are packages that must not be linked, directly or not, into others, and why.
var neverLinked = []struct {
	into, packages []string
	because        string
}{{
	[]string{"services/webhook-ingress"},
	[]string{"github.com/jackc/pgx", module + "internal/postgres", module + "db"},
	"strangers reach the ingress, and it takes webhooks in while Postgres is away",
}, {
	[]string{"", "services/..."},
	[]string{
		"github.com/nats-io/nats-server", module + "internal/embedded", module + "pkg/providertest",
		module + "internal/octokit",
	},
	"servers for one machine and the upstream of the demo are for tributary dev and for tests",
}}

// TestLinks looks at all that a package is linked with; mayImport has what it imports itself.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, rule := range neverLinked {
		for _, into := range rule.into {
			output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+into).Output()
			if err != nil {
				t.Fatalf("go list -deps ./%s: %v", into, err)
			}
			linked := strings.Fields(string(output))
			if len(linked) < 100 {
				t.Errorf("go list names only %d packages that ./%s is linked with", len(linked), into)
			}
			for _, name := range linked {
				if covered(name, rule.packages) {
					t.Errorf("./%s must not be linked with %s: %s", into, name, rule.because)
				}
			}
		}
	}
}
