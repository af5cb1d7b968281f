package checkpoint_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func TestReasonsAreBounded(t *testing.T) {
	var r checkpoint.Reasons
	for n := range 3 * checkpoint.MaxReasons {
		r.Add(fmt.Sprintf("%02d", n))
	}
	r.Add("07")
	r.Add("")
	list := r.List()
	if len(list) != checkpoint.MaxReasons+1 {
		t.Fatalf("%d reasons are listed: %v", len(list), list)
	}
	want := []checkpoint.Reason{{Text: checkpoint.OtherReasons, Items: 2 * checkpoint.MaxReasons}, {Text: "07", Items: 2}, {Text: "00", Items: 1}}
	if diff := cmp.Diff(want, list[:3]); diff != "" {
		t.Error(diff)
	}
}

func TestReasonsAreCut(t *testing.T) {
	var r checkpoint.Reasons
	r.Add(strings.Repeat("x", 1000) + "\x00")
	r.Add("a\x00b")
	for _, reason := range r.List() {
		if len(reason.Text) > checkpoint.MaxReason || strings.Contains(reason.Text.String(), "\x00") {
			t.Errorf("kept is %q", reason.Text)
		}
	}
}

// TestProgressForgetsReasonsOfWhatIsDone has items skipped by one worker and done by another, one by one and as a whole
// batch.
func TestProgressForgetsReasonsOfWhatIsDone(t *testing.T) {
	first := checkpoint.Key{Run: "r", Attempt: 1, Index: checkpoint.First}
	skips := &eventsv1.Entry{Size: 3, Outcomes: []*eventsv1.Outcome{
		{Index: 0, State: skipped, Reason: "a draft"}, {Index: 1, State: skipped, Reason: "a draft"},
	}}
	var p checkpoint.Progress
	for range 2 { // an update may be told twice
		p.Apply(checkpoint.Update{Key: first, Entry: skips})
	}
	wantSkips(t, &p, "2 × a draft")
	p.Apply(update(first, 3, 0, done))
	wantSkips(t, &p, "1 × a draft")
	p.Apply(checkpoint.Update{Key: first, Entry: join(update(first, 3, 0, done).Entry, update(first, 3, 1, done).Entry, update(first, 3, 2, done).Entry)})
	wantSkips(t, &p, "")
}

func wantSkips(t *testing.T, p *checkpoint.Progress, want string) {
	t.Helper()
	if got := listed(p.Skips()); got != want {
		t.Errorf("skips are %q, want %q", got, want)
	}
}

// listed are reasons in one line.
func listed(reasons checkpoint.Reasons) string {
	var parts []string
	for _, r := range reasons.List() {
		parts = append(parts, fmt.Sprintf("%d × %s", r.Items, r.Text))
	}
	return strings.Join(parts, ", ")
}
