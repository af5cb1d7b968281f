package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// leastVersion is the oldest PostgreSQL that the SQL holds on, as server_version_num has it.
const leastVersion = 150000

// settingsQuery reads the settings as they are for this database and user.
const settingsQuery = `select current_setting('server_version_num')::integer, current_setting('server_version'), current_setting('server_encoding'), pg_is_in_recovery(),
    current_setting('default_transaction_read_only')::boolean, current_setting('standard_conforming_strings')::boolean, current_setting('default_transaction_isolation'),
    current_setting('session_replication_role'), current_setting('synchronous_commit'), current_setting('fsync')::boolean, current_database(), current_user`

// Server is what matters of a PostgreSQL server's settings.
type Server struct {
	version                          int
	Version                          string
	encoding, isolation, replication string
	commit, database, user           string
	standby, readOnly, strings       bool
	fsync                            bool
}

// InspectServer reads the settings as they are for a pool's database and user.
func InspectServer(ctx context.Context, pool *pgxpool.Pool) (*Server, error) {
	s := &Server{}
	err := pool.QueryRow(ctx, settingsQuery).Scan(&s.version, &s.Version, &s.encoding, &s.standby, &s.readOnly, &s.strings, &s.isolation, &s.replication, &s.commit, &s.fsync,
		&s.database, &s.user)
	if err != nil {
		return nil, fmt.Errorf("read the settings of Postgres: %w", err)
	}
	return s, nil
}

// Check returns an error, which says what to do, for settings under which rows would be refused or lost.
func (s *Server) Check() error {
	reset := func(setting string) string {
		return fmt.Sprintf("run: alter database %q reset %s; alter role %q reset %s", s.database, setting, s.user, setting)
	}
	switch {
	case s.version < leastVersion:
		return fmt.Errorf("this is PostgreSQL %s; 15 or newer is needed", s.Version)
	case s.encoding != "UTF8":
		return fmt.Errorf("the database %q has the encoding %s, which can't keep every text; make one with: create database … encoding 'UTF8' template template0", s.database, s.encoding)
	case s.standby:
		return fmt.Errorf("this server is a standby, which takes no writes; name the primary, or several hosts with target_session_attrs=read-write")
	case s.readOnly:
		return fmt.Errorf("default_transaction_read_only is on for database %q and user %q; %s", s.database, s.user, reset("default_transaction_read_only"))
	case !s.strings:
		return fmt.Errorf("standard_conforming_strings is off, so that texts with a backslash are misread; %s", reset("standard_conforming_strings"))
	case s.isolation != "read committed":
		return fmt.Errorf("default_transaction_isolation is %q, and statements rely on read committed; %s", s.isolation, reset("default_transaction_isolation"))
	case s.replication == "replica":
		return fmt.Errorf("session_replication_role is replica, so that no trigger runs; %s", reset("session_replication_role"))
	}
	return nil
}

// Warnings are about settings that work and lose committed rows in a crash of the server.
func (s *Server) Warnings() []string {
	var warnings []string
	if s.commit == "off" {
		warnings = append(warnings, "synchronous_commit is off: a crash of the server loses the last commits, and with them what was acknowledged")
	}
	if !s.fsync {
		warnings = append(warnings, "fsync is off: a crash of the machine can destroy the database")
	}
	return warnings
}
