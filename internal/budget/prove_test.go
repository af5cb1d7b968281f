package budget

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// proven is what one process of the proof is asked to do and what came of it.
type proven struct {
	URL    string
	Limit  contracts.RateLimit
	Skew   time.Duration
	Until  time.Time
	Grants []grant
	Trips  float64
}

// TestProveBudget has 8 processes of 32 goroutines each, whose clocks are wrong by up to hours, at one budget: never
// one grant too many in any window, and at least 95 % of what is allowed is used.
func TestProveBudget(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("takes a minute of a quiet machine: make prove")
	}
	for name, limit := range map[string]*contracts.RateLimit{
		"fixed": contracts.Per(1000, 2*time.Second), "sliding": contracts.Per(1000, 2*time.Second).Sliding(),
		"fast": contracts.Per(20_000, 5*time.Second),
	} {
		t.Run(name, func(t *testing.T) { proveBudget(t, *limit) })
	}
}

func proveBudget(t *testing.T, limit contracts.RateLimit) {
	t.Helper()
	server := natstest.NewListening(t)
	budgetsOf(t, server.Connect(), 0)
	// All are up by the second window; windows that all of them were at are whole.
	begin := windowAt(time.Now(), limit.Window).Add(2*limit.Window + 2*time.Second)
	begin = windowAt(begin, limit.Window).Add(limit.Window)
	until := begin.Add(5 * limit.Window)
	var group errgroup.Group
	var mu sync.Mutex
	var all []grant
	trips := 0.0
	for i := range 8 {
		group.Go(func() error {
			skew := time.Duration(i-4) * 47 * time.Minute
			report, err := proveProcess(t.Context(), proven{URL: server.URL(), Limit: limit, Skew: skew, Until: until})
			mu.Lock()
			defer mu.Unlock()
			all = append(all, report.Grants...)
			trips += report.Trips
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	perWindow := checkGrants(t, limit, all)
	inWhole := int64(0)
	for start := begin; start.Before(until); start = start.Add(limit.Window) {
		inWhole += perWindow[start.Round(0).UTC()]
	}
	used := float64(inWhole) / float64(5*limit.Limit)
	t.Logf("%d grants in 8 processes of 32 goroutines: %.1f %% of five windows of %d in %s, %.3f round trips a grant",
		len(all), 100*used, limit.Limit, limit.Window, trips/float64(len(all)))
	if used < 0.95 {
		t.Errorf("%.1f %% of the budget was used, want 95 %%", 100*used)
	}
}

// proveProcess runs TestProveBudgetProcess in a process of its own.
func proveProcess(ctx context.Context, task proven) (report proven, err error) {
	in, err := json.Marshal(task)
	if err != nil {
		return report, err
	}
	command := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProveBudgetProcess$", "-test.count=1")
	command.Env = append(os.Environ(), "PROVE_BUDGET="+string(in))
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return report, err
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return report, json.Unmarshal(line, &report)
}

func TestProveBudgetProcess(t *testing.T) {
	task, ok := os.LookupEnv("PROVE_BUDGET")
	if !ok {
		t.Skip("a process of TestProveBudget")
	}
	var report proven
	if err := json.Unmarshal([]byte(task), &report); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(report.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b := budgetsOf(t, nc, report.Skew)
	ctx, cancel := context.WithDeadline(t.Context(), report.Until)
	defer cancel()
	if report.Grants, err = takeAll(ctx, b, report.Limit, 32, func([]grant) bool { return false }); err != nil {
		t.Fatal(err)
	}
	report.Trips = testutil.ToFloat64(b.metrics.trips)
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		t.Fatal(err)
	}
}
