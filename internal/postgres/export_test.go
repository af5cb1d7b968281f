package postgres

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Shared is what [Store.RunAccepts] asks through.
type Shared struct {
	shared[string, int]
}

// Ask asks.
func (s *Shared) Ask(ctx context.Context, key string, query func(context.Context, string) (int, error)) (int, error) {
	return s.ask(ctx, key, query)
}

// Open is how many questions are not answered.
func (s *Shared) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.put) + len(s.next)
}

// SetRest sets for how long a key is left alone after an answer.
func (s *Shared) SetRest(d time.Duration) { s.rest = d }

// ReadyFor is for how long a writable database is not asked again.
const ReadyFor = readyFor

// ConnectImpatiently is [Connect] with these waits in place of the usual ones: silent before Postgres is asked about a
// statement, ask for all that has to be answered at once.
func ConnectImpatiently(ctx context.Context, config *pgxpool.Config, log *slog.Logger, silent, ask time.Duration) (
	*pgxpool.Pool, error,
) {
	p := usualPatience()
	p.silent, p.grace, p.ask, p.connect, p.ping = silent, silent, ask, ask, ask
	return connect(ctx, config, log, p)
}

// ConnectTrusting is [Connect] that leaves statements alone, and gives an idle connection this long to answer.
func ConnectTrusting(ctx context.Context, config *pgxpool.Config, log *slog.Logger, ping time.Duration) (*pgxpool.Pool,
	error,
) {
	p := usualPatience()
	p.silent, p.ping = time.Hour, ping
	return connect(ctx, config, log, p)
}

// EndBackend ends a session that is at least of an age.
func EndBackend(ctx context.Context, on *pgx.Conn, pid uint32, age time.Duration) error {
	return endBackend(ctx, on, pid, age)
}

// Hear sets for how long a connection may hear nothing before it is asked, and within how long it has to answer.
func (s *Store) Hear(every, within time.Duration) { s.hearing = hearing{every, within} }

// Judge is what is decided of a statement, as usual.
func Judge(says string, before bool, after time.Duration) (again time.Duration, lost bool) {
	found := map[string]activity{"unknown": unknown, "idle": idle, "working": working}
	return usualPatience().judge(found[says], before, after)
}
