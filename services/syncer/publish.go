package syncer

import (
	"fmt"
	"strings"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	// itemOverhead and batchOverhead are more than what the encoding adds to an item and a batch.
	itemOverhead  = 64
	batchOverhead = 512

	reasonUnencodable = "unencodable"
	reasonTooLarge    = "too large"
)

// publish takes one batch to the broker under its stable id, having asked whether the run still wants it.
func (s *session) publish(batch *eventsv1.ItemBatch) error {
	if err := s.syncer.accepts(s.work, s.run); err != nil {
		return err
	}
	if batch.GetDeadItemId() != "" {
		return s.publishDead(batch)
	}
	lane := events.Bulk
	if batch.GetBatch() == 0 {
		lane = events.Shared
	}
	subject := events.ItemsSubject(events.ItemAddress{
		Lane: lane, Provider: s.run.Provider, Integration: s.run.IntegrationID.String(), Run: s.run.ID.String(), Attempt: s.run.Attempt,
	})
	m, err := events.NewWork(subject, fmt.Sprintf("%s/%d/%d", s.run.ID, s.run.Attempt, batch.GetBatch()), batch)
	if err != nil {
		return err
	}
	if err := s.syncer.Bus.Publish(s.work, m); err != nil {
		return err
	}
	s.syncer.Metrics.published(s.run.Provider, len(batch.GetItems()))
	s.syncer.Crash("syncer: batch published")
	return nil
}

// publishDead writes the dead row of an item that can't travel, then its outcome.
func (s *session) publishDead(batch *eventsv1.ItemBatch) error {
	reason, why, _ := strings.Cut(batch.GetDeadItemId(), ": ")
	item := batch.GetItems()[0]
	accepted, err := deaditems.Insert(s.work, s.syncer.Store, s.syncer.Now(), batch, []deaditems.Dead{{Item: item, Reason: reason, Error: why}})
	if err != nil {
		return err
	}
	if !accepted {
		return errNotOurs
	}
	s.syncer.Crash("syncer: dead item stored")
	key := checkpoint.Key{Run: batch.GetRunId(), Attempt: batch.GetAttempt(), Batch: batch.GetBatch(), Index: checkpoint.First}
	_, err = s.syncer.Checkpoints.Merge(s.work, key, &eventsv1.Entry{Size: 1, Outcomes: []*eventsv1.Outcome{{
		Index: item.GetIndex(), State: eventsv1.OutcomeState_OUTCOME_STATE_DEAD,
	}}})
	return err
}
