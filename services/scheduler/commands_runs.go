package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	// connectRetry is how long a command rests while the database is away.
	connectRetry = 2 * time.Second
	// retryAtATime bounds the dead items that one transaction brings back.
	retryAtATime = 500
)

func (s *Scheduler) commandCancel(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	run, err := tx.RunLockOpen(ctx, integration.ID)
	if postgres.NotFound(err) {
		return nil, reject("no run is open")
	}
	if err != nil {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	return s.cancel(ctx, tx, integration, run, c)
}

// cancel closes a run; its messages are purged once that is committed, and until then refused wherever they turn up.
func (s *Scheduler) cancel(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run, c *eventsv1.Command) (*reply, error) {
	now := s.Now()
	why := "cancelled"
	if c.GetReason() != "" {
		why += ": " + c.GetReason()
	}
	if c.GetBy() != "" {
		why += " (" + c.GetBy() + ")"
	}
	reached, err := s.reached(ctx, tx, run)
	if err != nil {
		return nil, err
	}
	skips, err := storedSkips(reached.skips)
	if err != nil {
		return nil, err
	}
	closed, err := tx.RunClose(ctx, dbsqlc.RunCloseParams{
		ID: run.ID, Attempt: run.Attempt, State: runstate.Cancelled, Error: foreign.Line(why), Items: reached.items, Done: reached.Done, Dead: reached.Dead, Skipped: reached.Skipped,
		SkipReasons: skips, Duplicates: reached.duplicates, Now: &now, ResolvedAt: &now, Resolution: runstate.Resolved,
	})
	if err != nil {
		return nil, fmt.Errorf("cancel run %s: %w", run.ID, err)
	}
	if err := tx.ReceiptDelete(ctx, run.ID); err != nil {
		return nil, fmt.Errorf("delete receipts of run %s: %w", run.ID, err)
	}
	if _, err := tx.DeadSupersedeRuns(ctx, now, []uuid.UUID{run.ID}); err != nil {
		return nil, fmt.Errorf("supersede dead items of run %s: %w", run.ID, err)
	}
	next := now.Add(s.interval(integration))
	if err := tx.IntegrationSetNextSync(ctx, &next, integration.ID); err != nil {
		return nil, fmt.Errorf("set the next sync: %w", err)
	}
	m, err := logEnd(ctx, tx, integration, closed, now)
	if err != nil {
		return nil, err
	}
	if err := tx.Publish(ctx, now, m); err != nil {
		return nil, err
	}
	if err := s.followUp(ctx, tx, integration.ID, closed, now); err != nil {
		return nil, err
	}
	return &reply{result: "cancelled", run: &run.ID, after: func(ctx context.Context) error {
		return s.Bus.Purge(ctx, events.StreamItems, events.RunFilters(run.Provider, run.IntegrationID.String(), run.ID.String(), 0)...)
	}}, nil
}

func (s *Scheduler) commandPause(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	if integration.Status == "paused" {
		return &reply{result: "paused already"}, nil
	}
	if integration.Status == "disabled" {
		return nil, reject("the integration is disabled: %s", orNone(integration.StatusReason))
	}
	return s.setStatus(ctx, tx, integration, "paused", "paused", c)
}

func (s *Scheduler) commandResume(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	if integration.Status == "active" {
		return &reply{result: "active already"}, nil
	}
	if integration.Status == "disabled" {
		return s.commandEnable(ctx, tx, integration, c)
	}
	if integration.Status == "reauth-required" {
		grant, err := tx.GrantGet(ctx, integration.ID)
		if err != nil {
			return nil, fmt.Errorf("read the grant: %w", err)
		}
		if grant.State != "connected" && grant.State != "uncertain" {
			return nil, reject("its user must authorize it first: make a link with tributary integrations connect %s", integration.Name)
		}
	}
	done, err := s.setStatus(ctx, tx, integration, "active", "resumed", c)
	if err != nil {
		return nil, err
	}
	return s.goOn(ctx, tx, integration, done)
}

// commandEnable makes a disabled integration active again, and one of bad health healthy: whoever has mended the upstream need not wait for the proof.
func (s *Scheduler) commandEnable(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	switch {
	case integration.Status != "active" && integration.Status != "disabled":
		return nil, reject("the integration is %s, not disabled; resume it", integration.Status)
	case integration.Status == "active" && integration.Health == health.Healthy:
		return &reply{result: "enabled already"}, nil
	}
	if err := s.Health.Enable(ctx, tx, integration, foreign.Line(c.GetReason()), foreign.Word(c.GetBy()), s.Now()); err != nil {
		return nil, err
	}
	return s.goOn(ctx, tx, integration, &reply{result: "enabled"})
}

// goOn wakes the run that waited while the integration was not active.
func (s *Scheduler) goOn(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, done *reply) (*reply, error) {
	if err := tx.WaitsEnd(ctx, waitEnded(integration.ID, deferral.Any, s.Now())); err != nil {
		return nil, fmt.Errorf("end waits of %s: %w", integration.ID, err)
	}
	run, err := tx.RunLockOpen(ctx, integration.ID)
	if postgres.NotFound(err) {
		return done, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	done.run = &run.ID
	if run.State != runstate.Waiting {
		// It is enumerated, or its items are worked on: those that wait are brought forward.
		return done, nil
	}
	now := s.Now()
	return done, wake(ctx, tx, run, now, &now)
}

func (s *Scheduler) setStatus(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, status, what string, c *eventsv1.Command) (*reply, error) {
	now := s.Now()
	_, err := tx.IntegrationSetStatus(ctx, dbsqlc.IntegrationSetStatusParams{ID: integration.ID, Status: status, Reason: foreign.Line(c.GetReason()), Now: now})
	if err != nil {
		return nil, fmt.Errorf("set status: %w", err)
	}
	m, err := event(events.IntegrationChanged, integration, &eventsv1.IntegrationChanged{
		Integration: ref(integration), What: what, Reason: c.GetReason(), By: c.GetBy(),
	})
	if err != nil {
		return nil, err
	}
	return &reply{result: what}, tx.Publish(ctx, now, m)
}

// commandRetry gives dead items another go, with all their tries, and lets runs whose reducer failed be reduced again.
func (s *Scheduler) commandRetry(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	p := dbsqlc.DeadClaimRedriveParams{IntegrationID: integration.ID, Most: retryAtATime, Now: s.Now()}
	if c.GetItem() != "" {
		row, err := s.deadItem(ctx, tx, integration, c.GetItem())
		if err != nil {
			return nil, err
		}
		p.ID = &row.ID
	}
	total, unfit, err := redrive(ctx, tx, p)
	if err != nil {
		return nil, err
	}
	if p.ID != nil && len(unfit) > 0 {
		return nil, reject("dead item %s can't travel (%s); mend the provider, or skip it", p.ID, unfit[0].why)
	}
	if p.ID != nil && total == 0 {
		return nil, reject("dead item %s is not open", c.GetItem())
	}
	reduced := int64(0)
	if p.ID == nil {
		reduced, err = tx.RunSetReduceFailed(ctx, dbsqlc.RunSetReduceFailedParams{IntegrationID: integration.ID, ReduceFailed: false})
		if err != nil {
			return nil, fmt.Errorf("let runs be reduced again: %w", err)
		}
	}
	if total == 0 && reduced == 0 {
		if len(unfit) > 0 {
			return nil, reject("there is nothing to retry: none of the %d open items can travel (%s); mend the provider, or skip them", len(unfit), unfit[0].why)
		}
		return nil, reject("there is nothing to retry: no dead item is open")
	}
	result := fmt.Sprintf("retrying %d items, reducing %d runs again", total, reduced)
	if len(unfit) > 0 {
		result += fmt.Sprintf("; %d stay dead because they can't travel (%s)", len(unfit), unfit[0].why)
	}
	return &reply{result: result}, nil
}

// unfitItem is a dead item that no message can hold, and why.
type unfitItem struct {
	row *postgres.DeadItem
	why string
}

// redrive claims dead items and writes their messages. Items that can't travel are open again in the end, so that none is claimed twice.
func redrive(ctx context.Context, tx *postgres.Tx, p dbsqlc.DeadClaimRedriveParams) (total int, unfit []unfitItem, err error) {
	for {
		rows, err := tx.DeadClaimRedrive(ctx, p)
		if err != nil {
			return 0, nil, fmt.Errorf("claim dead items: %w", err)
		}
		messages := make([]postgres.Outgoing, 0, len(rows))
		for _, row := range rows {
			m, err := redriveMessage(row, p.Now)
			if err != nil {
				return 0, nil, err
			}
			if why := travels(tx, row, m); why != "" {
				unfit = append(unfit, unfitItem{row: row, why: why})
				continue
			}
			messages = append(messages, m)
		}
		if err := tx.Publish(ctx, p.Now, messages...); err != nil {
			return 0, nil, err
		}
		if total += len(messages); len(rows) < retryAtATime {
			break
		}
	}
	for _, item := range unfit {
		_, err := tx.DeadReopen(ctx, dbsqlc.DeadReopenParams{ID: item.row.ID, Reason: item.row.Reason, Error: item.row.Error, Tries: item.row.Tries, Now: p.Now})
		if err != nil {
			return 0, nil, fmt.Errorf("leave dead item %s as it is: %w", item.row.ID, err)
		}
	}
	return total, unfit, nil
}

// travels says why no message can hold a dead item; nothing for one that can travel.
func travels(tx *postgres.Tx, row *postgres.DeadItem, m postgres.Outgoing) string {
	if row.Reason == deaditems.Unencodable || row.Reason == deaditems.Invalid {
		return row.Error.String()
	}
	if err := tx.Accepts(m); err != nil {
		return err.Error()
	}
	return ""
}

// redriveMessage brings a dead item back to the workers, as a batch of one.
func redriveMessage(row *postgres.DeadItem, now time.Time) (postgres.Outgoing, error) {
	address := events.ItemAddress{
		Lane: events.Shared, Provider: row.Provider, Integration: row.IntegrationID.String(), Run: row.RunID.String(),
		Attempt: row.Attempt, Batch: row.Batch, Index: row.ItemIndex, Hop: row.Hop,
	}
	id := fmt.Sprintf("%s/%d/%d/%d/%d/redrive", address.Run, address.Attempt, address.Batch, address.Index, address.Hop)
	m, err := events.NewWork(events.ItemsSubject(address), id, &eventsv1.ItemBatch{
		RunId: address.Run, Attempt: row.Attempt, Batch: row.Batch, IntegrationId: address.Integration, Provider: row.Provider,
		FirstAt: timestamppb.New(now), DeadItemId: row.ID.String(),
		Items: []*eventsv1.Item{{
			Index: row.ItemIndex, EventType: row.EventType, ExternalId: row.ExternalID, Payload: row.Payload, Checkpoint: textOf(row.Checkpoint), Hop: row.Hop,
		}},
	})
	return postgres.Outgoing(m), err
}

func (s *Scheduler) commandSkip(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	if c.GetWebhook() != "" {
		return s.skipWebhook(ctx, tx, integration, c)
	}
	row, err := s.deadItem(ctx, tx, integration, c.GetItem())
	if err != nil {
		return nil, err
	}
	skipped, err := tx.DeadResolve(ctx, dbsqlc.DeadResolveParams{
		ID: row.ID, Status: "skipped", ResolvedBy: foreign.Word(c.GetBy()), Note: foreign.Line(c.GetReason()), FromStatuses: []string{"open"}, Now: s.Now(),
	})
	if err != nil {
		return nil, fmt.Errorf("skip dead item %s: %w", row.ID, err)
	}
	if skipped == 0 {
		return nil, reject("dead item %s is %s, only an open one can be skipped", row.ID, row.Status)
	}
	return &reply{result: "skipped", run: &row.RunID, after: func(ctx context.Context) error { return s.resolveNow(ctx, row.RunID) }}, nil
}

// resolveNow reduces a run whose last dead item has just been skipped, so that the next sync starts from its cursor. A run that waits for more, or whose provider another scheduler has,
// is left to the sweep.
func (s *Scheduler) resolveNow(ctx context.Context, id uuid.UUID) error {
	run, err := s.Store.RunResolvableNow(ctx, id, s.keys)
	if postgres.NotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at run %s: %w", id, err)
	}
	if err := s.resolveOne(ctx, run, false); err != nil && !errors.Is(err, setaside.ErrLeft) {
		return err
	}
	return nil
}

func (s *Scheduler) deadItem(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, item string) (*postgres.DeadItem, error) {
	id, err := uuid.Parse(item)
	if err != nil {
		return nil, reject("%q is not the id of a dead item; list them with: tributary items dead", item)
	}
	row, err := tx.DeadGet(ctx, id)
	if postgres.NotFound(err) || err == nil && row.IntegrationID != integration.ID {
		return nil, reject("the integration has no dead item %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read dead item %s: %w", id, err)
	}
	return row, nil
}
