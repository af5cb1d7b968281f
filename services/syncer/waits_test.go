package syncer

import (
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestPauses has enumerations end with every kind of error that is worth another: the pause has a least and a longest
// wait, and says what it waits for.
func TestPauses(t *testing.T) {
	t.Parallel()
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	s := New(Config{Log: slog.New(slog.DiscardHandler), Metrics: metrics, Now: func() time.Time {
		return now
	}, Settings: DefaultSettings()})
	for name, test := range map[string]struct {
		err       error
		tries     int32
		deferrals int32
		wait      time.Duration
		asked     time.Duration
		cause     deferral.Cause
		giveBack  bool
	}{
		"a failure": {err: errors.New("broken"), tries: 2, deferrals: 8, wait: 30 * time.Second},
		"at once": {
			err: contracts.RetryAfter(0, nil), wait: time.Second, cause: deferral.Patience,
			giveBack: true,
		},
		"before now": {
			err: contracts.RetryAfter(-time.Hour, nil), wait: time.Second,
			cause: deferral.Patience, giveBack: true,
		},
		"at once again": {
			err: contracts.RetryAfter(0, nil), deferrals: 3, wait: 8 * time.Second,
			cause: deferral.Patience, giveBack: true,
		},
		"at once again and again": {
			err: contracts.RetryAfter(0, nil), deferrals: math.MaxInt32, wait: time.Minute,
			cause: deferral.Patience, giveBack: true,
		},
		"budget": {
			err:  contracts.RetryAfter(20*time.Minute, contracts.ErrBudgetExhausted),
			wait: 20 * time.Minute, cause: deferral.Budget, giveBack: true,
		},
		"146 years": {
			err: contracts.RetryAfter(1<<62, nil), wait: time.Hour, asked: 1 << 62,
			cause: deferral.Patience, giveBack: true,
		},
		"milliseconds for seconds": {
			err: contracts.RetryAfter(1_795_528_800*time.Second, nil), wait: time.Hour,
			asked: 1_795_528_800 * time.Second, cause: deferral.Patience, giveBack: true,
		},
		"as long as a duration can": {
			err: contracts.RetryAfter(math.MaxInt64, nil), wait: time.Hour,
			asked: math.MaxInt64, cause: deferral.Patience, giveBack: true,
		},
	} {
		run := &postgres.Run{Tries: max(test.tries, 1), Deferrals: test.deferrals}
		got := s.pauseFor(run, test.err, s.fate(run, test.err))
		want := runs.Pause{
			Until: now.Add(test.wait), Why: foreign.Of(test.err), Cause: test.cause,
			GiveBack: test.giveBack,
		}
		if test.asked > 0 {
			want.Asked = now.Add(test.asked)
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
