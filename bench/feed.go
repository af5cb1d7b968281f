package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/tributaryhq/tributary/pkg/contracts"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// providerKey names the provider whose upstream is a loop.
const providerKey = "bench"

// slowHandler is how long the slow handler takes.
const slowHandler = time.Millisecond

// record is an item as wide as an issue or an order: about 600 bytes of JSON. Its type is told by Kind.
type record struct {
	ID    string `json:"id"`
	Seq   int64  `json:"seq"`
	Title string `json:"title"`
	Body  string `json:"body"`
}

// text fills a record.
var text = strings.Repeat("The quick brown fox jumps over the lazy dog, and over again. ", 9)[:500]

func newRecord(seq int) record {
	return record{ID: "record-" + strconv.Itoa(seq), Seq: int64(seq), Title: "An item of the benchmark", Body: text}
}

// The kinds of records differ in what handles them.
type (
	// quick has a handler that does nothing, not even look into the item.
	quick record
	// typed has a handler that is given the decoded item and does nothing.
	typed record
	// slow has a handler that takes a millisecond.
	slow record
	// stored has no handler and goes to the records table.
	stored record
)

// The kinds as metadata spells them.
const (
	kindQuick  = "quick"
	kindTyped  = "typed"
	kindSlow   = "slow"
	kindStored = "stored"
)

// feedMetadata says what an integration enumerates.
type feedMetadata struct {
	Kind  string `json:"kind" validate:"required,oneof=quick typed slow stored"`
	Items int    `json:"items" validate:"required"`
}

// feed is the provider.
type feed struct {
	contracts.NoCredentials
	contracts.TypedMetadata[feedMetadata]
	contracts.MaxNumber
}

func (feed) Name() string                           { return "Benchmark" }
func (feed) DefaultSyncInterval() time.Duration     { return 24 * time.Hour }
func (feed) DefaultRateLimit() *contracts.RateLimit { return nil }

func (feed) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	metadata, err := contracts.MetadataOf[feedMetadata](in)
	if err != nil {
		return contracts.Permanent(err)
	}
	for i := 1; i <= metadata.Items; i++ {
		r := newRecord(i)
		var event any
		switch metadata.Kind {
		case kindQuick:
			event = quick(r)
		case kindTyped:
			event = typed(r)
		case kindSlow:
			event = slow(r)
		default:
			event = stored(r)
		}
		if err := session.Dispatch(ctx, event, r.Seq, r.ID); err != nil {
			return err
		}
	}
	return nil
}

// handlers are those of the kinds. All but one decode their item, as app.OnItem does for an application.
func handlers() map[string][]itemworker.ItemHandler {
	return map[string][]itemworker.ItemHandler{
		contracts.EventType(quick{}): {func(context.Context, *contracts.Integration, []byte) error { return nil }},
		contracts.EventType(typed{}): {decoding(func(typed) {})},
		contracts.EventType(slow{}):  {decoding(func(slow) { time.Sleep(slowHandler) })},
	}
}

func decoding[T any](fn func(T)) itemworker.ItemHandler {
	return func(_ context.Context, _ *contracts.Integration, payload []byte) error {
		var item T
		if err := jsonv1.Unmarshal(payload, &item); err != nil {
			return contracts.Permanent(err)
		}
		fn(item)
		return nil
	}
}
