package itemworker

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// work is items of one integration that a [round] handles, and what handling them takes.
type work struct {
	worker   *Worker
	batch    *eventsv1.ItemBatch
	lane     wire.Lane
	in       *contracts.Integration
	provider contracts.Provider
	// took measures how long handlers take.
	took   prometheus.Observer
	origin origin
}

// origin is where items come from and where their outcomes are kept. It has three implementations: the entry of a
// batch in the bucket, the row of a dead item that is retried, and the row of a webhook.
type origin interface {
	// maxTries is after how many failed tries an item is dead, or its webhook has failed.
	maxTries() int
	// awaitHandlers splits items for which this worker has no handler. The rest may be stored as records, the others
	// wait for a worker that has the handler.
	awaitHandlers(ctx context.Context, items []*eventsv1.Item) (rest []*eventsv1.Item, waiting []handled)
	// insists reports whether records are written again in place while Postgres is away.
	insists() bool
	// receive writes a receipt for items in the transaction that stores them, where outcomes need receipts.
	receive(ctx context.Context, tx *postgres.Tx, items []*eventsv1.Item) error
	// name names the origin of records in the event about them.
	name(event *eventsv1.RecordsChanged)
}

// handled is an item with what its handlers, or storing it as a record, returned.
type handled struct {
	item *eventsv1.Item
	err  error
	// received says that the receipt is written already.
	received bool
}
