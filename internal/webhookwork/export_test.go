package webhookwork

import (
	"context"
	"log/slog"
	"time"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// NewTake returns what stores a webhook of the stream. It works until ctx ends.
func NewTake(ctx context.Context, config Config) func(context.Context, *bus.Delivery) error {
	w := New(config)
	go w.stores.Run(ctx)
	go w.looks.Run(ctx)
	return w.take
}

// Settled is what became of a webhook.
type Settled struct {
	Status, Cause string
	Wait          time.Duration
	Deferrals     int32
	Tries         int32
}

// Settle is what becomes of a claim whose handler has returned err.
func Settle(row *dbsqlc.WebhookClaimRow, err error) Settled {
	w := newWorker()
	f := w.settle(row, err, nil, nil)
	return Settled{
		Status: f.status, Cause: string(f.waitingFor), Wait: f.next.Sub(w.Now()), Deferrals: f.deferrals,
		Tries: f.tries,
	}
}

// Told is the reason and the error that are kept of a webhook of an integration whose handler has returned err.
func Told(in *contracts.Integration, err error) (reason, text string) {
	w := newWorker()
	f := w.settle(&dbsqlc.WebhookClaimRow{}, err, nil, redact.New(nil, in))
	return f.reason.String(), f.errorText().String()
}

// Kept is what is kept of what a webhook's handler of an integration has returned.
func Kept(in *contracts.Integration, value any) string {
	w := newWorker()
	result, _ := w.encodeResult(context.Background(), value)
	return w.settle(&dbsqlc.WebhookClaimRow{}, nil, result, redact.New(nil, in)).result
}

// CheckedCheckpoint is what is left of the checkpoint of an item that a webhook, received some time ago, has
// dispatched.
func CheckedCheckpoint(provider contracts.Provider, checkpoint string, receivedAt time.Time) string {
	w := newWorker()
	item := &eventsv1.Item{Checkpoint: []byte(checkpoint)}
	c := &call{Worker: w, provider: provider, row: &dbsqlc.WebhookClaimRow{ReceivedAt: receivedAt}}
	_ = c.checkCheckpoints(context.Background(), []*eventsv1.Item{item})
	return string(item.GetCheckpoint())
}

// NewSession returns what a webhook's handler dispatches to, what ends the handler, and what then says whether records
// are lost.
func NewSession() (dispatches contracts.Dispatcher, end func() int, verdict func(late func(error)) error) {
	s := &session{}
	return s, func() int { return len(s.close()) }, s.guard.Verdict
}

// Ignore is what becomes of a delivery of a type for which its provider has no handler.
func Ignore(ctx context.Context, store *postgres.Store, eventType string) error {
	w := newWorker()
	w.Handlers.Store = store
	return (&call{Worker: w, row: &dbsqlc.WebhookClaimRow{Provider: "shop"}}).ignore(ctx, eventType)
}

func newWorker() *Worker {
	log := slog.New(slog.DiscardHandler)
	handlers := handling.New(handling.Config{
		Log: log, Now: time.Now,
		Settings: handling.Settings{AskTimeout: 10 * time.Second},
	})
	return &Worker{Config: Config{
		Handlers: handlers, Log: log, Now: time.Now, Waits: deferral.Default(),
		Settings: DefaultSettings(),
	}}
}
