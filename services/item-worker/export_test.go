package itemworker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/wire"
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
	if err != nil {
		return nil, err
	}
	registry, err := registry.New(nil)
	if err != nil {
		return nil, err
	}
	return &Round{worker: New(Config{
		Registry: registry, Handlers: handlers, Log: slog.New(slog.DiscardHandler), Metrics: metrics, Now: time.Now,
		Settings: settings,
	})}, nil
}

// Run handles items until stopping is closed, and returns the outcomes by index.
func (r *Round) Run(ctx context.Context, stopping <-chan struct{}, batch *eventsv1.ItemBatch) map[int32]Outcome {
	j := &job{worker: r.worker, Work: handling.Work{Handlers: r.worker.handlers, Batch: batch}}
	j.keep(inEntry{ofRun{j}})
	round := j.Start(ctx, batch.GetItems(), r.worker.slots[wire.Bulk])
	var halting sync.WaitGroup
	halting.Go(func() {
		select {
		case <-stopping:
			round.Halt()
		case <-round.Over:
		}
	})
	outcomes := map[int32]Outcome{}
	for _, result := range j.judge(round.Wait()) {
		outcomes[result.item.GetIndex()] = Outcome{
			State: result.state, Error: result.errorText().String(),
			Delay: result.delay,
		}
	}
	halting.Wait()
	return outcomes
}

// Hop sends items of a batch on as one message.
func Hop(ctx context.Context, b *bus.Bus, batch *eventsv1.ItemBatch, items []*eventsv1.Item,
	delay time.Duration,
) error {
	j := newJob(b, batch)
	return j.publish(ctx, &hop{items: items, delay: delay})
}

// SendOn sends the items of a batch on, to be tried again, and returns the reasons of those that are dead by that.
func SendOn(ctx context.Context, b *bus.Bus, batch *eventsv1.ItemBatch) (dead map[int32]string, sentOn []int32) {
	j := newJob(b, batch)
	var results []result
	for _, item := range batch.GetItems() {
		results = append(results, result{
			item: item, state: eventsv1.OutcomeState_OUTCOME_STATE_RETRYING,
			delay: time.Hour, failed: true,
		})
	}
	j.unwritten.hops = j.hopsOf(results)
	j.try(ctx, inEntry{ofRun{j}}.writeHops)
	dead = map[int32]string{}
	for _, d := range j.unwritten.dead {
		dead[d.Item.GetIndex()] = d.Reason.String()
	}
	for _, outcome := range j.unwritten.entry.GetOutcomes() {
		sentOn = append(sentOn, outcome.GetIndex())
	}
	return dead, sentOn
}

func newJob(b *bus.Bus, batch *eventsv1.ItemBatch) *job {
	w := &Worker{Config: Config{Bus: b, Now: time.Now, Log: slog.New(slog.DiscardHandler), Crash: func(string) {}}}
	return &job{worker: w, Work: handling.Work{Batch: batch}, delivery: &bus.Delivery{}}
}
