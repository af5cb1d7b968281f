package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// mirrorKey is the cell in NATS that mirrors the mark.
const mirrorKey = "mark"

// mirror is the mark as NATS has it.
type mirror struct {
	N     int64     `json:"n"`
	Nonce uuid.UUID `json:"nonce"`
	At    time.Time `json:"at"`
	// Back is the store that went back, until an incident in Postgres says so.
	Back *wentBack `json:"back,omitempty"`
}

// wentBack is a store that went back to an earlier state.
type wentBack struct {
	// Incident is the id that its incident gets, so that it is opened once.
	Incident uuid.UUID `json:"incident"`
	// Store is postgres or nats.
	Store string `json:"store"`
	// By is how far it went back, at least.
	By time.Duration `json:"by"`
	// At is when that was noticed.
	At time.Time `json:"at"`
}

// markCells is the bucket of the mirror.
type markCells interface {
	Read(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Write(ctx context.Context, key string, value []byte, revision uint64) (next uint64, ok bool, err error)
}

// mark notices a store that goes back to an earlier state. Its row in Postgres moves from where its mirror in NATS is, and only then the mirror follows. So the row is where the
// mirror is, or one move ahead; anything else shows which of the two went back, and by how much. It informs; what protects data are receipts, late looks and shadows.
type mark struct {
	*Scheduler
	cells markCells
	// behind is since when the mark is of a later time than it is, by this machine's running time.
	behind time.Time
}

// compare moves the mark when it is due, and compares it with its mirror.
func (m *mark) compare(ctx context.Context) error {
	value, revision, err := m.cells.Read(ctx, mirrorKey)
	if err != nil {
		// Readiness reports that NATS is away.
		m.Log.Debug("the mirror of the mark can't be read", "error", err)
		return nil
	}
	if value == nil {
		return m.begin(ctx, revision)
	}
	var seen mirror
	if err := json.Unmarshal(value, &seen); err != nil {
		return fmt.Errorf("read the mirror of the mark: %w", err)
	}
	if seen.Back != nil {
		return m.open(ctx, seen, revision)
	}
	if ahead := seen.At.Sub(m.Now()); m.wasAhead(ahead) {
		if moved, err := m.clockWentBack(ctx, seen, revision, ahead); moved || err != nil {
			return err
		}
	}
	if now := m.Now(); now.Sub(seen.At) >= m.Settings.Mark {
		row, err := m.Store.MarkMove(ctx, dbsqlc.MarkMoveParams{N: seen.N, Mirrored: seen.Nonce, Nonce: uuid.New(), Now: now})
		if err == nil {
			m.Crash("scheduler: mark moved")
			_, err = m.follow(ctx, mirror{N: row.N, Nonce: row.Nonce, At: row.At}, revision)
			return err
		}
		if !postgres.NotFound(err) {
			return fmt.Errorf("move the mark: %w", err)
		}
	}
	row, err := m.Store.MarkGet(ctx)
	if postgres.NotFound(err) {
		// Postgres went back to before its first mark, or is another database.
		row, err = &dbsqlc.MarkGetRow{}, m.Store.MarkBegin(ctx, uuid.New(), m.Now())
	}
	if err != nil {
		return fmt.Errorf("read the mark: %w", err)
	}
	return m.judge(ctx, row, seen, revision)
}

// begin mirrors the mark for the first time, or after NATS has lost its store.
func (m *mark) begin(ctx context.Context, revision uint64) error {
	if err := m.Store.MarkBegin(ctx, uuid.New(), m.Now()); err != nil {
		return fmt.Errorf("begin the mark: %w", err)
	}
	row, err := m.Store.MarkGet(ctx)
	if err != nil {
		return fmt.Errorf("read the mark: %w", err)
	}
	_, err = m.follow(ctx, mirror{N: row.N, Nonce: row.Nonce, At: row.At}, revision)
	return err
}

// follow has the mirror show a mark. False says that another scheduler was faster.
func (m *mark) follow(ctx context.Context, to mirror, revision uint64) (bool, error) {
	value, err := json.Marshal(to)
	if err != nil {
		return false, err
	}
	_, ok, err := m.cells.Write(ctx, mirrorKey, value, revision)
	if err != nil {
		m.Log.Debug("the mirror of the mark can't be written", "error", err)
		return false, nil
	}
	return ok, nil
}

// judge tells what a row says that was read after its mirror. The mirror follows only if it is still as it was read: else another scheduler has moved the mark, and there is nothing
// to tell. So one scheduler alone tells.
func (m *mark) judge(ctx context.Context, row *dbsqlc.MarkGetRow, seen mirror, revision uint64) error {
	if row.N == seen.N && row.Nonce == seen.Nonce {
		return nil
	}
	ahead := row.N == seen.N+1 && row.Prev == seen.Nonce
	if row.N == 0 {
		again, err := m.Store.MarkGet(ctx)
		if err != nil {
			return fmt.Errorf("read the mark: %w", err)
		}
		row = again
	}
	to := mirror{N: row.N, Nonce: row.Nonce, At: row.At}
	if !ahead {
		to.Back = m.whichWentBack(row, seen)
	}
	followed, err := m.follow(ctx, to, revision)
	if err != nil || !followed || ahead {
		return err
	}
	name, _ := to.Back.names()
	m.Log.Error(name+" went back to an earlier state; what it lost, and what is repeated, is in docs/recovery.md",
		"store", to.Back.Store, "by", to.Back.By, "incident", to.Back.Incident)
	m.Metrics.back(to.Back.Store, to.Back.By)
	if to.Back.Store == "nats" {
		// No scheduler may have lived that saw its history before.
		m.StoreLost(m.Now(), seen.At)
	}
	return nil
}

// whichWentBack compares a row with a mirror that does not fit. Moves are Settings.Mark apart, so the number of lost moves is a bound too. It alone counts where Postgres has lost
// its whole mark and begun a new one.
func (m *mark) whichWentBack(row *dbsqlc.MarkGetRow, seen mirror) *wentBack {
	back := &wentBack{Incident: postgres.NewID(), Store: "postgres", At: m.Now()}
	moves, by := seen.N-row.N, seen.At.Sub(row.At)
	if row.N > seen.N+1 {
		back.Store, moves, by = "nats", -moves, -by
	}
	back.By = max(by, time.Duration(moves)*m.Settings.Mark)
	return back
}

// names is what people call the store, and what its incident names as its source.
func (b *wentBack) names() (string, health.Source) {
	if b.Store == "nats" {
		return "NATS", health.SourceNATS
	}
	return "Postgres", health.SourceDatabase
}

// open opens the incident of a store that went back. Only then the mirror drops the note, so that a scheduler that dies between loses nothing.
func (m *mark) open(ctx context.Context, seen mirror, revision uint64) error {
	name, source := seen.Back.names()
	reason := foreign.Line(fmt.Sprintf("%s went back to an earlier state, by %s or more; docs/recovery.md says what is lost and what to do",
		name, seen.Back.By.Round(time.Millisecond)))
	err := m.Store.InTx(ctx, func(tx *postgres.Tx) error {
		signal := health.Signal{Source: source, Severity: health.Failing, Reason: reason}
		return health.Open(ctx, tx, seen.Back.Incident, signal, seen.Back.At)
	})
	if err != nil {
		return err
	}
	m.Crash("scheduler: incident of a store opened")
	seen.Back = nil
	_, err = m.follow(ctx, seen, revision)
	return err
}
