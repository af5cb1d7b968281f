package itemworker

import (
	"context"

	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// outcomes is where a job keeps the outcomes of its items: see [inEntry] and [inRow].
type outcomes interface {
	handling.Origin
	// accepts reports whether the run still wants the outcomes.
	accepts(run *dbsqlc.RunAcceptsRow) bool
	// lacks reports whether this message still has to see to an item.
	lacks(item *eventsv1.Item) bool
	// check returns why an outcome of the item can't be stored.
	check(item *eventsv1.Item) error
	// write stores what is unwritten, and keeps what a store refuses. It returns [errRefused] or nil.
	write(ctx context.Context) error
}

// ofRun is what the outcomes of a run's items have in common.
type ofRun struct{ *job }

func (o ofRun) MaxTries() int { return o.worker.Settings.Tries }

// IsWhole is false: each item has its own outcome.
func (ofRun) IsWhole() bool { return false }

func (o ofRun) Name(event *eventsv1.RecordsChanged) { event.RunId = o.Batch.GetRunId() }
