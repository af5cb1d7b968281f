package syncer

import (
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	// itemOverhead and batchOverhead are more than what the encoding adds to an item and a batch.
	itemOverhead  = 64
	batchOverhead = 512

	reasonTooLarge = "too large"
)

// publish takes one batch to the broker under its stable id, having asked whether the run still wants it.
func (s *session) publish(p *parcel) error {
	if err := s.syncer.accepts(s.work, s.run); err != nil {
		return err
	}
	batch := &eventsv1.ItemBatch{
		RunId: s.run.ID.String(), Attempt: s.run.Attempt, Batch: p.number, IntegrationId: s.run.IntegrationID.String(), Provider: s.run.Provider,
		FirstAt: timestamppb.New(p.firstAt),
	}
	if p.dead != nil {
		return s.publishDead(batch, p)
	}
	lane := wire.Bulk
	if p.number == 0 {
		lane = wire.Shared
	}
	subject := wire.ItemsSubject(wire.ItemAddress{
		Lane: lane, Provider: s.run.Provider, Integration: s.run.IntegrationID.String(), Run: s.run.ID.String(), Attempt: s.run.Attempt,
	})
	m, err := p.Message(subject, fmt.Sprintf("%s/%d/%d", s.run.ID, s.run.Attempt, p.number), batch)
	if err != nil {
		return err
	}
	if err := s.syncer.Bus.Publish(s.work, m); err != nil {
		return err
	}
	s.syncer.Metrics.published(s.run.Provider, p.Items())
	s.syncer.Crash("syncer: batch published")
	p.Reset()
	s.syncer.packers.Put(p.Packer)
	return nil
}

// publishDead writes the dead row of an item that can't travel, then its outcome.
func (s *session) publishDead(batch *eventsv1.ItemBatch, p *parcel) error {
	accepted, err := deaditems.Insert(s.work, s.syncer.Store, s.syncer.Now(), batch, []deaditems.Dead{{Item: p.dead, Reason: p.reason, Error: p.why}})
	if err != nil {
		return err
	}
	if !accepted {
		return errNotOurs
	}
	s.syncer.Crash("syncer: dead item stored")
	key := checkpoint.Key{Run: batch.GetRunId(), Attempt: batch.GetAttempt(), Batch: batch.GetBatch(), Index: checkpoint.First}
	_, err = s.syncer.Checkpoints.Merge(s.work, key, &eventsv1.Entry{Size: 1, Outcomes: []*eventsv1.Outcome{{
		Index: p.dead.GetIndex(), State: eventsv1.OutcomeState_OUTCOME_STATE_DEAD,
	}}})
	return err
}
