package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrUnreplicated is the error of a transaction that has committed, though a synchronous standby may lack it: somebody
// has cancelled its wait for the standby. To its caller that is a commit of which nobody knows: see [Unavailable].
var ErrUnreplicated = errors.New("the wait for the synchronous standby was cancelled: it may lack the commit")

// unreplicated is where a connection notes that a wait for the standby was cancelled.
const unreplicated = "unreplicated"

// heedReplication has the connections of a pool note that the wait of a commit for a synchronous standby was cancelled.
// Postgres says so in a warning only. Its text is translated, and its code is that of other warnings too, so that it is
// told by where it comes from.
func heedReplication(config *pgxpool.Config) {
	others := config.ConnConfig.OnNotice
	config.ConnConfig.OnNotice = func(conn *pgconn.PgConn, notice *pgconn.Notice) {
		if notice.Code == "01000" && notice.File == "syncrep.c" {
			conn.CustomData()[unreplicated] = true
		}
		if others != nil {
			others(conn, notice)
		}
	}
}

// replicated runs a transaction on a connection, and returns [ErrUnreplicated] if its wait for a standby was cancelled.
func replicated(conn *pgxpool.Conn, transaction func() error) error {
	noted := conn.Conn().PgConn().CustomData()
	delete(noted, unreplicated)
	if err := transaction(); err != nil {
		return err
	}
	if noted[unreplicated] != nil {
		return ErrUnreplicated
	}
	return nil
}

// Barrier has the transaction wait for a synchronous standby when it commits, though it may write nothing: then all
// that it has seen is on the standby. Whoever acknowledges a message because of a row that another transaction has
// written needs it.
func (tx *Tx) Barrier(ctx context.Context) error { return tx.CommitBarrier(ctx) }
