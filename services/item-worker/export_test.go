package itemworker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Round has items handled as those of a batch are, with nothing around it.
type Round struct {
	worker *Worker
}

// Outcome is what an item came to.
type Outcome struct {
	State eventsv1.OutcomeState
	Error string
	// Delay is after how long a retry comes.
	Delay time.Duration
}

// NewRounds returns what runs batches of one event type in one lane.
func NewRounds(settings Settings, handlers map[string][]ItemHandler) (*Round, error) {
	metrics, err := NewMetrics(prometheus.NewRegistry())
	w := New(Config{Handlers: handlers, Log: slog.New(slog.DiscardHandler), Metrics: metrics, Now: time.Now, Settings: settings})
	return &Round{worker: w}, err
}

// Run handles items until stopping is closed, and returns the outcomes by index.
func (r *Round) Run(ctx context.Context, stopping <-chan struct{}, batch *eventsv1.ItemBatch) map[int32]Outcome {
	j := &job{work: work{worker: r.worker, batch: batch, lane: wire.Bulk, took: r.worker.Metrics.items.WithLabelValues("test")}}
	j.keep(inEntry{ofRun{j}})
	round := newRound(ctx, &j.work, batch.GetItems(), false)
	var halting sync.WaitGroup
	halting.Go(func() {
		select {
		case <-stopping:
			round.halt()
		case <-round.over:
		}
	})
	outcomes := map[int32]Outcome{}
	for _, result := range j.judge(round.settle()) {
		outcomes[result.item.GetIndex()] = Outcome{State: result.state, Error: result.errorText().String(), Delay: result.delay}
	}
	halting.Wait()
	return outcomes
}

// Order has a provider order the records of items. It returns the keys of those that may be stored, and what the others
// came to.
func Order(ctx context.Context, provider contracts.Provider, settings Settings, items []*eventsv1.Item) (keys map[int32]string, failed map[int32]Outcome) {
	w := New(Config{Log: slog.New(slog.DiscardHandler), Now: time.Now, Settings: settings})
	j := &job{work: work{worker: w, provider: provider, batch: &eventsv1.ItemBatch{FirstAt: timestamppb.Now(), Items: items}}}
	records := make([]record, 0, len(items))
	for _, item := range items {
		records = append(records, record{item: item})
	}
	ordered, results := j.order(ctx, records)
	keys, failed = map[int32]string{}, map[int32]Outcome{}
	for _, r := range ordered {
		keys[r.item.GetIndex()] = r.key
	}
	for _, r := range j.judge(results) {
		failed[r.item.GetIndex()] = Outcome{State: r.state, Error: r.errorText().String(), Delay: r.delay}
	}
	return keys, failed
}

// Hop sends items of a batch on as one message.
func Hop(ctx context.Context, b *bus.Bus, batch *eventsv1.ItemBatch, items []*eventsv1.Item, delay time.Duration) error {
	j := &job{work: work{worker: New(Config{Bus: b, Now: time.Now}), batch: batch}}
	return j.publish(ctx, &hop{items: items, delay: delay})
}

// SendOn sends the items of a batch on, to be tried again, and returns the reasons of those that are dead by that.
func SendOn(ctx context.Context, b *bus.Bus, batch *eventsv1.ItemBatch) (dead map[int32]string, sentOn []int32) {
	j := &job{work: work{worker: New(Config{Bus: b, Now: time.Now, Log: slog.New(slog.DiscardHandler)}), batch: batch}, delivery: &bus.Delivery{}}
	var results []result
	for _, item := range batch.GetItems() {
		results = append(results, result{item: item, state: eventsv1.OutcomeState_OUTCOME_STATE_RETRYING, delay: time.Hour, failed: true})
	}
	j.unwritten.hops = j.hopsOf(results)
	j.try(ctx, j.writeHops)
	dead = map[int32]string{}
	for _, d := range j.unwritten.dead {
		dead[d.Item.GetIndex()] = d.Reason.String()
	}
	for _, outcome := range j.unwritten.entry.GetOutcomes() {
		sentOn = append(sentOn, outcome.GetIndex())
	}
	return dead, sentOn
}

// Restarts counts tries that a budget refused, and reports whether a try is warned of.
func Restarts() func(of string, limit contracts.RateLimit, requests int64, now time.Time) bool {
	r := &restarts{}
	return func(of string, limit contracts.RateLimit, requests int64, now time.Time) bool {
		_, warn := r.add(budget.Exhausted{Budget: of, Limit: limit}, requests, now)
		return warn
	}
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
	h := &webhooks{Worker: New(Config{Log: slog.New(slog.DiscardHandler), Now: time.Now, Settings: DefaultSettings()})}
	f := h.settle(row, err, nil, nil)
	return Settled{Status: f.status, Cause: string(f.waitingFor), Wait: f.next.Sub(h.Now()), Deferrals: f.deferrals, Tries: f.tries}
}

// Told is the reason and the error that are kept of a webhook of an integration whose handler has returned err.
func Told(in *contracts.Integration, err error) (reason, text string) {
	h := &webhooks{Worker: New(Config{Log: slog.New(slog.DiscardHandler), Now: time.Now, Settings: DefaultSettings()})}
	f := h.settle(&dbsqlc.WebhookClaimRow{}, err, nil, redact.New(nil, in))
	return f.reason.String(), f.errorText().String()
}

// Kept is what is kept of what a webhook's handler of an integration has returned.
func Kept(in *contracts.Integration, value any) string {
	h := &webhooks{Worker: New(Config{Log: slog.New(slog.DiscardHandler), Now: time.Now, Settings: DefaultSettings()})}
	result, _ := h.encodeResult(context.Background(), value)
	return h.settle(&dbsqlc.WebhookClaimRow{}, nil, result, redact.New(nil, in)).result
}

// CheckedCheckpoint is what is left of the checkpoint of an item that a webhook, received some time ago, has
// dispatched.
func CheckedCheckpoint(provider contracts.Provider, checkpoint string, receivedAt time.Time) string {
	h := &webhooks{Worker: New(Config{Log: slog.New(slog.DiscardHandler), Now: time.Now, Settings: DefaultSettings()})}
	item := &eventsv1.Item{Checkpoint: []byte(checkpoint)}
	c := &call{webhooks: h, provider: provider, row: &dbsqlc.WebhookClaimRow{ReceivedAt: receivedAt}}
	_ = c.checkCheckpoints(context.Background(), []*eventsv1.Item{item})
	return string(item.GetCheckpoint())
}

// NewSession returns what a webhook's handler dispatches to, what ends the handler, and what then says whether records are lost.
func NewSession() (session contracts.Dispatcher, end func() int, verdict func(late func(error)) error) {
	s := &webhookSession{}
	return s, func() int { return len(s.close()) }, s.guard.Verdict
}

// Ignore is what becomes of a delivery of a type for which its provider has no handler.
func Ignore(ctx context.Context, store *postgres.Store, eventType string) error {
	h := &webhooks{Worker: New(Config{Store: store, Log: slog.New(slog.DiscardHandler), Now: time.Now, Settings: DefaultSettings()})}
	return (&call{webhooks: h, row: &dbsqlc.WebhookClaimRow{Provider: "shop"}}).ignore(ctx, eventType)
}
