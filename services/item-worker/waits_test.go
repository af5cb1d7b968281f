package itemworker_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestDeferredItemsWaitWithinBounds has handlers ask for waits of any length: none is shorter than one that grows with
// the deferrals in a row, none is longer than an hour, and none ends after the item's window.
func TestDeferredItemsWaitWithinBounds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		asked     time.Duration
		deferrals int32
		// age is how long ago the item was handed over.
		age   time.Duration
		state any
		want  time.Duration
	}{
		"at once":                 {asked: 0, state: retrying, want: time.Second},
		"before now":              {asked: -time.Hour, state: retrying, want: time.Second},
		"at once, the fifth time": {asked: 0, deferrals: 4, state: retrying, want: 16 * time.Second},
		"at once, for ever":       {asked: 0, deferrals: math.MaxInt32, state: retrying, want: time.Minute},
		"as asked": {
			asked: 90 * time.Second, deferrals: 9, state: retrying,
			want: 90 * time.Second,
		},
		"for 146 years":                  {asked: 1 << 62, state: retrying, want: time.Hour},
		"for an hour, the window is six": {asked: time.Hour, age: 5*time.Hour + time.Minute, state: dead},
		"for years, the window is six":   {asked: 1 << 62, age: 5*time.Hour + time.Minute, state: dead},
		"for less than is left": {
			asked: 58 * time.Minute, age: 5*time.Hour + time.Minute, state: retrying,
			want: 58 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRounds(t, 1, func(context.Context, *contracts.Integration, []byte) error {
				return contracts.RetryAfter(test.asked, errors.New("later"))
			})
			batch := batchOf(1)
			batch.Items[0].Deferrals, batch.FirstAt = test.deferrals, timestamppb.New(time.Now().Add(-test.age))
			got := r.Run(t.Context(), nil, batch)[0]
			if got.State != test.state || got.State == retrying && got.Delay != test.want {
				t.Errorf("%v after %s, want %v after %s", got.State, got.Delay, test.state, test.want)
			}
		})
	}
}
