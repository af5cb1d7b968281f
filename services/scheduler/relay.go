package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/wire"
)

const (
	// relayAtATime is how many messages of the outbox one transaction publishes.
	relayAtATime = 200
	// relayFor is for how long one transaction publishes. NATS may answer slowly, and Postgres ends a transaction of which
	// it hears nothing for a minute.
	relayFor = 10 * time.Second
)

// relayOutbox publishes what transactions have left to be published, in order for each subject. A message that the broker refuses is tried again later and set aside after a few
// tries. A stream that can't be reached holds up its own messages.
func (s *Scheduler) relayOutbox(ctx context.Context) error {
	var away []string
	var problems error
	for ctx.Err() == nil {
		p := page{away: away}
		err := s.relayPage(ctx, &p)
		s.Metrics.relayed(p.published)
		problems = errors.Join(problems, p.problem)
		if err != nil {
			return errors.Join(err, problems)
		}
		// A page of nothing but what waits for another process comes again by the next tick.
		stuck := p.published == 0 && len(p.told) == 0 && len(p.away) == len(away)
		if away = p.away; p.claimed < relayAtATime && !p.cut || stuck {
			break
		}
	}
	if problems != nil && !s.relayAway {
		s.Log.Warn("messages can't be published, trying again", "error", problems)
	}
	s.relayAway = problems != nil
	return nil
}

// page is what one transaction of the relay comes to.
type page struct {
	claimed, published int
	// cut says that the time was over before all were tried.
	cut bool
	// away are the parts of the bus that can't be reached, by the second token of their subjects; problem is why the last of them can't.
	away    []string
	problem error
	stored  []uuid.UUID
	// held are subjects whose next message was refused, or is another process's to publish: those behind it wait.
	held map[string]bool
	told []func()
}

func (s *Scheduler) relayPage(ctx context.Context, p *page) error {
	err := s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		rows, err := tx.OutboxClaim(ctx, dbsqlc.OutboxClaimParams{Away: orNothing(p.away), Now: s.Now(), Most: relayAtATime})
		if err != nil {
			return fmt.Errorf("claim from the outbox: %w", err)
		}
		p.claimed = len(rows)
		if p.held, err = behind(ctx, tx, rows); err != nil {
			return err
		}
		began := s.Now()
		for _, row := range rows {
			if p.cut = s.Now().Sub(began) >= relayFor; p.cut {
				break
			}
			if err := s.relayOne(ctx, tx, p, row); err != nil {
				return err
			}
		}
		if len(p.stored) == 0 {
			return nil
		}
		refusedBefore, err := tx.OutboxDelete(ctx, p.stored)
		if err != nil {
			return fmt.Errorf("delete from the outbox: %w", err)
		}
		for _, key := range refusedBefore {
			if err := s.SetAside.Done(ctx, tx, setaside.Message, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.published = len(p.stored)
	for _, tell := range p.told {
		tell()
	}
	return nil
}

// behind are the subjects of rows whose older rows another process has locked. It asks after the claim: what is gone by
// then was published.
func behind(ctx context.Context, tx *postgres.Tx, rows []*dbsqlc.Outbox) (map[string]bool, error) {
	held := map[string]bool{}
	if len(rows) == 0 {
		return held, nil
	}
	p := dbsqlc.OutboxBehindParams{Newest: rows[len(rows)-1].ID}
	for _, row := range rows {
		p.Ids, p.Subjects = append(p.Ids, row.ID), append(p.Subjects, row.Subject)
	}
	subjects, err := tx.OutboxBehind(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("look for older messages in the outbox: %w", err)
	}
	for _, subject := range subjects {
		held[subject] = true
	}
	return held, nil
}

func (s *Scheduler) relayOne(ctx context.Context, tx *postgres.Tx, p *page, row *dbsqlc.Outbox) error {
	part := partOf(row.Subject)
	if p.held[row.Subject] || slices.Contains(p.away, part) {
		return nil
	}
	m, err := postgres.Decode(row)
	refused := err != nil
	if err == nil {
		err = s.Bus.TryPublish(ctx, wire.Message(m))
		refused = errors.Is(err, bus.ErrRefused)
	}
	switch {
	case err == nil:
		s.Crash("scheduler: outbox message published")
		p.stored = append(p.stored, row.ID)
	case ctx.Err() != nil:
		return ctx.Err()
	case refused:
		p.held[row.Subject] = true
		tell, err := s.SetAside.Fail(ctx, tx, setaside.Message, setaside.Element{Key: row.ID.String(), Integration: integrationOf(row.Subject), About: row.Subject}, err)
		if err != nil {
			return err
		}
		p.told = append(p.told, tell)
	default:
		p.away, p.problem = append(p.away, part), err
	}
	return nil
}

// partOf is the part of the bus that a subject belongs to: tributary.<part>.…
func partOf(subject string) string {
	tokens := strings.SplitN(subject, ".", 3)
	if len(tokens) < 2 {
		return ""
	}
	return tokens[1]
}

// integrationOf is the integration in a subject, if there is one.
func integrationOf(subject string) uuid.UUID {
	for token := range strings.SplitSeq(subject, ".") {
		if id, err := uuid.Parse(token); err == nil && len(token) == 36 {
			return id
		}
	}
	return uuid.Nil
}

func orNothing(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
