package syncer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestVerdictsWhateverTheText has enumerations end in every way with texts that no store takes as they are. The verdict
// stands, and the text is kept as far as it can be.
func TestVerdictsWhateverTheText(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asIs)
	waits := func(wait time.Duration, tries, deferrals int32) func(t *testing.T, run *postgres.Run, began time.Time) {
		return func(t *testing.T, run *postgres.Run, began time.Time) {
			t.Helper()
			if run.State != "waiting" || run.Tries != tries || run.Deferrals != deferrals {
				t.Errorf("the run is %s after %d tries and %d deferrals (%s)", run.State, run.Tries, run.Deferrals, run.Error)
			}
			if at := run.WaitingUntil; at == nil || at.Before(began.Add(wait-time.Second)) || at.After(time.Now().Add(wait+time.Second)) {
				t.Errorf("the run waits until %v, want %s", at, wait)
			}
		}
	}
	verdicts := map[string]struct {
		play  func(text string) enumeration
		check func(t *testing.T, run *postgres.Run, began time.Time)
	}{
		"a deferral": {
			play:  func(text string) enumeration { return returns(contracts.RetryAfter(time.Hour, errors.New(text))) },
			check: waits(time.Hour, 0, 1),
		},
		"a failure": {
			play:  func(text string) enumeration { return returns(errors.New(text)) },
			check: waits(10*time.Second, 1, 0),
		},
		"a panic": {
			play: func(text string) enumeration {
				return func(context.Context, contracts.SyncSession, string) error { panic(text) }
			},
			check: waits(10*time.Second, 1, 0),
		},
		"permanent": {
			play: func(text string) enumeration { return returns(contracts.Permanent(errors.New(text))) },
			check: func(t *testing.T, run *postgres.Run, _ time.Time) {
				t.Helper()
				if total := w.total(t, run); run.State != "working" || w.called(run) != 1 || !strings.Contains(total.GetError(), "refus") {
					t.Errorf("the run is %s after %d calls, its total %v", run.State, w.called(run), total)
				}
			},
		},
	}
	for what, text := range map[string]string{
		"Latin-1":       "acc\xe8s refus\xe9",
		"a zero byte":   "refus\x00ed",
		"half an emoji": "refused \xed\xa0\xbd",
		"3 MB":          "refused " + strings.Repeat("x", 3<<20),
	} {
		for how, verdict := range verdicts {
			t.Run(how+" with "+what, func(t *testing.T) {
				began := time.Now()
				run := w.enumerate(t, w.open(t, verdict.play(text)))
				verdict.check(t, run, began)
				kept := run.Error.String()
				if !strings.Contains(kept, "refus") || !utf8.ValidString(kept) || strings.ContainsRune(kept, 0) || len(kept) > foreign.MaxError {
					t.Errorf("the run keeps %d bytes: %.200q", len(kept), kept)
				}
			})
		}
	}
}
