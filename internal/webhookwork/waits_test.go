package webhookwork_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/webhookwork"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestDeferredWebhooksWaitWithinBounds has handlers of webhooks ask for waits of any length. Webhooks have a window of
// their own.
func TestDeferredWebhooksWaitWithinBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			asked     time.Duration
			deferrals int32
			age       time.Duration
			want      webhookwork.Settled
		}{
			"at once": {asked: 0, want: webhookwork.Settled{
				Status: "pending", Wait: time.Second,
				Cause: "budget", Deferrals: 1,
			}},
			"at once, the fifth time": {asked: 0, deferrals: 4, want: webhookwork.Settled{
				Status: "pending",
				Wait:   16 * time.Second, Cause: "budget", Deferrals: 5,
			}},
			"for 146 years": {asked: 1 << 62, want: webhookwork.Settled{
				Status: "pending", Wait: time.Hour,
				Cause: "budget", Deferrals: 1,
			}},
			"beyond the window": {
				asked: time.Hour, age: 72*time.Hour - time.Minute,
				want: webhookwork.Settled{Status: "failed", Wait: time.Hour, Deferrals: 1},
			},
		} {
			from := time.Now().Add(-test.age)
			row := &dbsqlc.WebhookClaimRow{Deferrals: test.deferrals, WindowFrom: &from}
			if got := webhookwork.Settle(row,
				contracts.RetryAfter(test.asked, contracts.ErrBudgetExhausted)); got != test.want {
				t.Errorf("%s: %+v, want %+v", name, got, test.want)
			}
		}
		row := &dbsqlc.WebhookClaimRow{Deferrals: 7}
		if got := webhookwork.Settle(row, errors.New("broken")); got.Deferrals != 0 || got.Cause != "" ||
			got.Status != "pending" {
			t.Errorf("a failure leaves %+v", got)
		}
	})
}

// TestWebhooksTakeNetworkErrorsForTheirHandlers has handlers fail as the network does: a deferral within is heard, and
// anything else takes a try, though Postgres that is away has the same errors.
func TestWebhooksTakeNetworkErrorsForTheirHandlers(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, err := range map[string]error{
		"refused": &url.Error{Op: "Get", URL: "http://shop", Err: refused}, "cut": io.ErrUnexpectedEOF, "ended": io.EOF,
		"late": context.DeadlineExceeded,
	} {
		if got := webhookwork.Settle(&dbsqlc.WebhookClaimRow{}, err); got.Status != "pending" || got.Tries != 1 {
			t.Errorf("%s: %+v, want a try to be taken", name, got)
		}
		if got := webhookwork.Settle(&dbsqlc.WebhookClaimRow{Tries: 5}, err); got.Status != "failed" {
			t.Errorf("%s, after five tries: %+v, want it to be failed", name, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		open := &url.Error{
			Op: "Get", URL: "http://shop",
			Err: contracts.RetryAfter(time.Minute, contracts.ErrCircuitOpen),
		}
		want := webhookwork.Settled{Status: "pending", Cause: "circuit", Wait: time.Minute, Deferrals: 1}
		if got := webhookwork.Settle(&dbsqlc.WebhookClaimRow{}, open); got != want {
			t.Errorf("a circuit is open: %+v, want %+v", got, want)
		}
	})
}

// TestWebhooksWaitForAHandlerWithinTheirWindow ends the wait with a reason.
func TestWebhooksWaitForAHandlerWithinTheirWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(-72 * time.Hour)
		row := &dbsqlc.WebhookClaimRow{WindowFrom: &from}
		err := contracts.RetryAfter(time.Minute, fmt.Errorf("%w for gone", deferral.ErrNoHandler))
		if got, want := webhookwork.Settle(row, err),
			(webhookwork.Settled{Status: "failed", Wait: time.Minute, Deferrals: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// TestWebhooksWithAnImpossibleType are ignored: an upstream may send any bytes as a type.
func TestWebhooksWithAnImpossibleType(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	for _, eventType := range []string{"\x00", "\xff", string(make([]byte, http.DefaultMaxHeaderBytes))} {
		if err := webhookwork.Ignore(t.Context(), store, eventType); err == nil ||
			err.Error() != "no handler for this type" {
			t.Errorf("%d bytes: %v", len(eventType), err)
		}
	}
}
