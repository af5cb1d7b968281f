package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// TestProveRestore restores Postgres from a backup as docs/recovery.md says, with the names and commands of the page. Runs were open when the backup was made. Records,
// a cursor, a pause, an integration and webhooks came after it.
func TestProveRestore(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	steps := restoreSteps(t)
	for name, test := range map[string]struct {
		bound   time.Duration
		removes bool
	}{
		"as written":              {removes: true},
		"with a lag bound":        {removes: true, bound: time.Minute},
		"streams are not removed": {},
	} {
		t.Run(name, func(t *testing.T) {
			d := &drill{failover: newFailover(t), bound: test.bound}
			d.env = []string{"TRIBUTARY_DATABASE_LAG_BOUND=" + test.bound.String()}
			d.serve()
			copied := d.loseTime()
			d.step("services stopped", d.stopAll)
			d.step("Postgres restored", func() { d.fallBack(copied) })
			if test.removes {
				d.step("streams removed", func() { d.remove(steps[2]) })
			}
			d.step("open runs done", func() { d.serve(); d.wantAll() })
			d.step("full syncs done", func() { d.syncFull(steps[4]) })
			d.wantLost(steps[5])
		})
	}
}

// restoreSteps are the numbered steps of the page.
func restoreSteps(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/recovery.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "## Restore Postgres from a backup\n")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	steps := regexp.MustCompile(`(?m)^\d\. .*$`).FindAllString(chapter, -1)
	if len(steps) != 6 {
		t.Fatalf("the page has these steps, and the drill has others: %q", steps)
	}
	return steps
}

// quoted are the parts of a step in backticks.
func quoted(step string) []string {
	parts := []string{}
	for i, part := range strings.Split(step, "`") {
		if i%2 == 1 {
			parts = append(parts, part)
		}
	}
	return parts
}

// drill is a restore of Postgres from a backup.
type drill struct {
	*failover
	bound     time.Duration
	processes []*process
	webhooked uuid.UUID
	paused    uuid.UUID
}

const drilled, delivered = 5000, 20

func (d *drill) serve() {
	d.t.Helper()
	d.processes = d.startAll()
	if d.webhooked != uuid.Nil {
		d.processes = append(d.processes, d.start("webhook-ingress"))
	}
}

// loseTime makes a backup while two runs are open, and has the system do what the backup lacks.
func (d *drill) loseTime() (copied *node) {
	d.t.Helper()
	d.fill(drilled)
	in := d.startIngress()
	d.processes = append(d.processes, in.process)
	d.webhooked, d.paused = d.createHooked("hooked"), d.create("two", "feed")
	d.awaitClosed(d.paused, 1)
	copied, held := d.begin(false)
	held.open()
	d.awaitClosed(d.stored, 1)
	d.awaitClosed(d.handled, 1)
	d.fill(drilled / 10)
	for _, name := range []string{"stored", "handled"} {
		d.command(events.VerbSync, name, "")
	}
	d.awaitClosed(d.stored, 2)
	d.awaitClosed(d.handled, 2)
	d.create("late", "feed")
	d.command(events.VerbPause, "two", "")
	d.await("the pause", func() bool { return d.integration(d.paused).Status == "paused" })
	for n := range delivered {
		if !d.pushUntilTaken(in.url+"/integrations/hooked/one/webhook", fmt.Sprint("d", n), entry{ID: fmt.Sprint("w", n), Seq: int64(n + 1)}) {
			d.t.Fatal("not taken")
		}
	}
	d.awaitWebhooks(d.webhooked, "processed", delivered)
	if d.bound == 0 {
		d.awaitEmpty(wire.StreamWebhooks)
		d.awaitEmpty(wire.StreamCommands)
	}
	return copied
}

func (d *drill) step(what string, do func()) {
	d.t.Helper()
	began := time.Now()
	do()
	d.t.Logf("%s in %s", what, time.Since(began).Round(10*time.Millisecond))
}

func (d *drill) stopAll() {
	d.t.Helper()
	for _, p := range d.processes {
		if code := p.stop(); code != 0 {
			d.t.Errorf("%s ended with %d", p.name, code)
		}
	}
}

// remove removes the streams and buckets that the step names.
func (d *drill) remove(step string) {
	d.t.Helper()
	js, err := d.nc.JetStream()
	if err != nil {
		d.t.Fatal(err)
	}
	removed := 0
	for _, name := range quoted(step) {
		switch {
		case strings.HasPrefix(name, "TRIBUTARY_"):
			err = js.DeleteStream(name)
		case strings.HasPrefix(name, "tributary_"):
			err = js.DeleteKeyValue(name)
		default:
			continue
		}
		if err != nil {
			d.t.Errorf("remove %s: %v", name, err)
		}
		removed++
	}
	if removed != 3 {
		d.t.Errorf("%d are removed, want 3", removed)
	}
}

// syncFull runs the command of the step for both integrations.
func (d *drill) syncFull(step string) {
	d.t.Helper()
	for _, name := range []string{"stored", "handled"} {
		d.tributary(quoted(step)[0] + " " + name)
	}
	d.runs = 2
	d.wantAll()
}

// tributary runs a command of the program and returns what it prints.
func (d *drill) tributary(line string) string {
	d.t.Helper()
	command := exec.CommandContext(d.t.Context(), os.Args[0], strings.Fields(line)[1:]...)
	command.Env = append(os.Environ(), roleVariable+"=1", "TRIBUTARY_NATS_URL="+d.natsURL, "USER=ann")
	out, err := command.CombinedOutput()
	if err != nil {
		d.t.Errorf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// wantLost checks that exactly what the page names is lost, and that an incident tells of the restore.
func (d *drill) wantLost(step string) {
	d.t.Helper()
	if listed := d.tributary(quoted(step)[0]); strings.Contains(listed, "late") || !strings.Contains(listed, "stored") {
		d.t.Errorf("the integrations are\n%s", listed)
	}
	want, status := 0, "active"
	if d.bound > 0 {
		want, status = delivered, "paused"
	}
	d.awaitWebhooks(d.webhooked, "processed", want)
	d.await("what became of the pause", func() bool { return d.integration(d.paused).Status == status })
	var incidents string
	d.await("the incident", func() bool {
		incidents = d.tributary("tributary incidents list --open")
		return strings.Contains(incidents, "Postgres went back to an earlier state")
	})
	for line := range strings.Lines(incidents) {
		if strings.Contains(line, "Postgres went back to an earlier state") {
			d.tributary("tributary incidents resolve " + strings.Fields(line)[0] + " --reason restored")
		}
	}
	if left := d.tributary("tributary incidents list --open"); strings.Contains(left, "went back") {
		d.t.Errorf("still open:\n%s", left)
	}
	if d.bound > 0 {
		d.awaitEmpty(wire.StreamWebhooks)
	}
}
