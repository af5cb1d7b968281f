package app_test

import (
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/control/commands"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
	"github.com/tributaryhq/tributary/services/syncer"
	tokenrefresher "github.com/tributaryhq/tributary/services/token-refresher"
	webhookingress "github.com/tributaryhq/tributary/services/webhook-ingress"
)

// figure is the number that a pattern finds once in a file of deploy/.
func figure(t *testing.T, file, pattern string) int64 {
	t.Helper()
	found := regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, filepath.Join(root, "deploy", file)), -1)
	if len(found) != 1 {
		t.Fatalf("%s has %q %d times", file, pattern, len(found))
	}
	n, err := strconv.ParseInt(found[0][1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The memory limits of an ingress follow from what strangers can take of it.
func TestDeployedMemory(t *testing.T) {
	t.Parallel()
	need := webhookingress.DefaultSettings().Memory()
	for file, pattern := range map[string]string{
		"k8s/webhook-ingress.yaml": `(?s)limits:\n\s+memory: (\d+)Mi`,
		"compose.yaml":             `(?s)command: \[webhook-ingress\].{0,200}?mem_limit: (\d+)m`,
	} {
		limit := figure(t, file, pattern) << 20
		if limit < need*5/4 || limit > need*3/2 {
			t.Errorf("%s limits the memory to %d MiB, and what is needed is %d MiB and a quarter to a half more", file, limit>>20, need>>20)
		}
	}
}

// A service is not killed while it still serves, or finishes what it holds.
func TestDeployedGrace(t *testing.T) {
	t.Parallel()
	grace := max(webhookingress.DefaultSettings().Grace, tokenrefresher.DefaultSettings().Grace, itemworker.DefaultSettings().Grace,
		syncer.DefaultSettings().Grace, commands.DefaultSettings().Grace)
	delay := time.Duration(figure(t, "k8s/kustomization.yaml", `TRIBUTARY_DRAIN_DELAY=(\d+)s`)) * time.Second
	if given := time.Duration(figure(t, "k8s/service-patch.yaml", `terminationGracePeriodSeconds: (\d+)`)) * time.Second; given < delay+grace+5*time.Second {
		t.Errorf("pods are killed after %s, and may need %s", given, delay+grace)
	}
	if given := time.Duration(figure(t, "compose.yaml", `stop_grace_period: (\d+)s`)) * time.Second; given < grace+5*time.Second {
		t.Errorf("containers are killed after %s, and may need %s", given, grace)
	}
	if said := time.Duration(figure(t, "check/internal/checks/drain.go", `longestGrace = (\d+) \* time.Second`)) * time.Second; said != grace {
		t.Errorf("deploy/check takes %s for the longest grace, which is %s", said, grace)
	}
}
