package outbound

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/idempotency"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// taken is a ledger in which a key is taken, in a state that it may have got a moment after it was asked for.
type taken struct{ state idempotency.State }

func (s taken) Reserve(_ context.Context, claim idempotency.Claim) (uuid.UUID, *idempotency.Held, error) {
	return uuid.Nil, &idempotency.Held{State: s.state, Fingerprint: claim.Fingerprint, LeaseUntil: claim.Now}, nil
}

func (taken) Settle(context.Context, idempotency.Claim, idempotency.Outcome) error { return nil }

// What is free by now, or will be, is worth another try; what somebody must look at is not. A lease can end, and its
// key become unknown, between the two looks at the ledger: where the upstream recognises keys, that one is free.
func TestTakenKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		state    idempotency.State
		provider contracts.Provider
		deferred bool
	}{
		{idempotency.Reserved, plainProvider{}, true},
		{idempotency.Reserved, dedupes{}, true},
		{idempotency.Failed, plainProvider{}, true},
		{idempotency.Unknown, dedupes{}, true},
		{idempotency.Unknown, plainProvider{}, false},
		{idempotency.Succeeded, plainProvider{}, false},
	} {
		metrics, err := idempotency.NewMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		in := contracts.NewIntegration(contracts.IntegrationFields{ID: "i", Provider: "p"})
		redactor := redact.New(test.provider, in)
		chain := &begin{provider: test.provider, next: &keyed{
			ledger:   idempotency.New(taken{test.state}, nil, time.Second, metrics, slog.New(slog.DiscardHandler)),
			provider: test.provider, now: time.Now,
			integration: func() *contracts.Integration {
				return in
			}, redactor: func() *redact.Redactor { return redactor },
		}}
		ctx, err := contracts.WithIdempotencyKey(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://a.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := chain.RoundTrip(req)
		if res != nil {
			_ = res.Body.Close()
		}
		_, deferred := contracts.AsDeferral(err)
		if _, conflict := errors.AsType[*contracts.IdempotencyConflictError](err); !conflict ||
			deferred != test.deferred || contracts.IsPermanent(err) == deferred {
			t.Errorf("%s, deduped %v: %v", test.state, test.provider, err)
		}
	}
}
