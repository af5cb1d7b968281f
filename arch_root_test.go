package tributary_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestFrontDoorLeavesTheProcessAlone keeps the root package from reading flags and the environment and from handling
// signals, and keeps out of a program that embeds it what only commands need.
func TestFrontDoorLeavesTheProcessAlone(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.path() != "tributary" {
			continue
		}
		for _, imported := range p.Imports {
			if slices.Contains([]string{"flag", "os", "os/signal", "syscall"}, imported) {
				t.Errorf("the root package must not import %s: the process is its program's", imported)
			}
		}
	}
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal("go list:", err)
	}
	for imported := range strings.Lines(string(output)) {
		for _, kept := range []string{
			module + "internal/embedded", module + "internal/cli",
			"github.com/nats-io/nats-server", "github.com/alecthomas/kong",
		} {
			if covered(strings.TrimSpace(imported), []string{kept}) {
				t.Errorf("a program that imports the root package links %s", imported)
			}
		}
	}
}
