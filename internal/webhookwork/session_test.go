package webhookwork_test

import (
	"errors"
	"math"
	"testing"

	"github.com/tributaryhq/tributary/internal/items"
	"github.com/tributaryhq/tributary/internal/webhookwork"
)

// TestWebhookLosesNoRecord has the handlers of webhooks ignore what Dispatch returns, and dispatch after they have
// returned.
func TestWebhookLosesNoRecord(t *testing.T) {
	t.Parallel()
	type record struct{ N float64 }
	session, end, verdict := webhookwork.NewSession()
	_ = session.Dispatch(t.Context(), record{1}, nil, "1")
	_ = session.Dispatch(t.Context(), record{math.NaN()}, nil, "2")
	if n := end(); n != 1 {
		t.Errorf("%d records are kept, want 1", n)
	}
	if err := verdict(nil); err == nil {
		t.Error("a record was refused, and the webhook is fine")
	}
	session, end, verdict = webhookwork.NewSession()
	var late error
	end()
	if err := verdict(func(err error) { late = err }); err != nil {
		t.Errorf("nothing was refused: %v", err)
	}
	if err := session.Dispatch(t.Context(), record{1}, nil, "1"); !errors.Is(err, items.ErrEnded) ||
		!errors.Is(late, items.ErrEnded) {
		t.Errorf("a late record: %v, and the webhook is told %v", err, late)
	}
}
