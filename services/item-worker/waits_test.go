package itemworker_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// TestDeferredItemsWaitWithinBounds has handlers ask for waits of any length: none is shorter than one that grows with the deferrals in a row, none is longer than an
// hour, and none ends after the item's window.
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
		"at once":                        {asked: 0, state: retrying, want: time.Second},
		"before now":                     {asked: -time.Hour, state: retrying, want: time.Second},
		"at once, the fifth time":        {asked: 0, deferrals: 4, state: retrying, want: 16 * time.Second},
		"at once, for ever":              {asked: 0, deferrals: math.MaxInt32, state: retrying, want: time.Minute},
		"as asked":                       {asked: 90 * time.Second, deferrals: 9, state: retrying, want: 90 * time.Second},
		"for 146 years":                  {asked: 1 << 62, state: retrying, want: time.Hour},
		"for an hour, the window is six": {asked: time.Hour, age: 5*time.Hour + time.Minute, state: dead},
		"for years, the window is six":   {asked: 1 << 62, age: 5*time.Hour + time.Minute, state: dead},
		"for less than is left":          {asked: 58 * time.Minute, age: 5*time.Hour + time.Minute, state: retrying, want: 58 * time.Minute},
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

// TestDeferredWebhooksWaitWithinBounds is the same of webhooks, which have a window of their own.
func TestDeferredWebhooksWaitWithinBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			asked     time.Duration
			deferrals int32
			age       time.Duration
			want      itemworker.Settled
		}{
			"at once":                 {asked: 0, want: itemworker.Settled{Status: "pending", Wait: time.Second, Cause: "budget", Deferrals: 1}},
			"at once, the fifth time": {asked: 0, deferrals: 4, want: itemworker.Settled{Status: "pending", Wait: 16 * time.Second, Cause: "budget", Deferrals: 5}},
			"for 146 years":           {asked: 1 << 62, want: itemworker.Settled{Status: "pending", Wait: time.Hour, Cause: "budget", Deferrals: 1}},
			"beyond the window":       {asked: time.Hour, age: 72*time.Hour - time.Minute, want: itemworker.Settled{Status: "failed", Wait: time.Hour, Deferrals: 1}},
		} {
			from := time.Now().Add(-test.age)
			row := &dbsqlc.WebhookClaimRow{Deferrals: test.deferrals, WindowFrom: &from}
			if got := itemworker.Settle(row, contracts.RetryAfter(test.asked, contracts.ErrBudgetExhausted)); got != test.want {
				t.Errorf("%s: %+v, want %+v", name, got, test.want)
			}
		}
		row := &dbsqlc.WebhookClaimRow{Deferrals: 7}
		if got := itemworker.Settle(row, errors.New("broken")); got.Deferrals != 0 || got.Cause != "" || got.Status != "pending" {
			t.Errorf("a failure leaves %+v", got)
		}
	})
}

// TestWebhooksTakeNetworkErrorsForTheirHandlers has handlers fail as the network does: a deferral within is heard, and anything else takes a try, though Postgres that
// is away has the same errors.
func TestWebhooksTakeNetworkErrorsForTheirHandlers(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, err := range map[string]error{
		"refused": &url.Error{Op: "Get", URL: "http://shop", Err: refused}, "cut": io.ErrUnexpectedEOF, "ended": io.EOF, "late": context.DeadlineExceeded,
	} {
		if got := itemworker.Settle(&dbsqlc.WebhookClaimRow{}, err); got.Status != "pending" || got.Tries != 1 {
			t.Errorf("%s: %+v, want a try to be taken", name, got)
		}
		if got := itemworker.Settle(&dbsqlc.WebhookClaimRow{Tries: 5}, err); got.Status != "failed" {
			t.Errorf("%s, after five tries: %+v, want it to be failed", name, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		open := &url.Error{Op: "Get", URL: "http://shop", Err: contracts.RetryAfter(time.Minute, contracts.ErrCircuitOpen)}
		want := itemworker.Settled{Status: "pending", Cause: "circuit", Wait: time.Minute, Deferrals: 1}
		if got := itemworker.Settle(&dbsqlc.WebhookClaimRow{}, open); got != want {
			t.Errorf("a circuit is open: %+v, want %+v", got, want)
		}
	})
}
