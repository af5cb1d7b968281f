package handling

import (
	"context"
	"time"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Order has a provider order the records of items. It returns the keys of those that may be stored, and the errors of
// the others.
func Order(ctx context.Context, provider contracts.Provider, timeout time.Duration, items []*eventsv1.Item) (
	keys map[int32]string, failed map[int32]error,
) {
	w := &Work{Handlers: New(Config{Settings: Settings{AskTimeout: timeout}}), Provider: provider}
	records := make([]record, 0, len(items))
	for _, item := range items {
		records = append(records, record{item: item})
	}
	ordered, others := w.order(ctx, records)
	keys, failed = map[int32]string{}, map[int32]error{}
	for _, r := range ordered {
		keys[r.item.GetIndex()] = r.key
	}
	for _, one := range others {
		failed[one.Item.GetIndex()] = one.Err
	}
	return keys, failed
}

// Restarts counts tries that a budget refused, and reports whether a try is warned of.
func Restarts() func(of string, limit contracts.RateLimit, requests int64, now time.Time) bool {
	r := &restarts{}
	return func(of string, limit contracts.RateLimit, requests int64, now time.Time) bool {
		_, warn := r.add(budget.Exhausted{Budget: of, Limit: limit}, requests, now)
		return warn
	}
}
