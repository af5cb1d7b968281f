package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary/db"
	"github.com/tributaryhq/tributary/internal/bus"
	embeddedpostgres "github.com/tributaryhq/tributary/internal/embedded/postgres"
)

type doctorCommand struct{}

// Run looks at what the commands need, and says for each what is there or how to get it.
func (doctorCommand) Run(p *program) error {
	ctx, cancel := context.WithTimeout(p.ctx, 30*time.Second)
	defer cancel()
	sound := true
	say := func(ok bool, what, text string) {
		mark := "ok  "
		if !ok {
			mark, sound = "FAIL", false
		}
		_, _ = fmt.Fprintf(p.streams.Out, "%s  %-9s %s\n", mark, what, text)
	}
	p.examinePostgres(ctx, say)
	p.examineNATS(say)
	if _, err := p.keyRing(slog.New(slog.DiscardHandler)); err != nil {
		say(false, "keys", err.Error())
	} else {
		say(true, "keys", p.keysFrom())
	}
	if err := os.MkdirAll(p.config.DataDir, 0o755); err != nil {
		say(false, "data", fmt.Sprintf("%v; choose another folder with --data-dir", err))
	} else {
		absolute, _ := filepath.Abs(p.config.DataDir)
		say(true, "data", "dev keeps everything in "+absolute)
	}
	if !sound {
		return errors.New("something is missing; see the lines marked FAIL")
	}
	return nil
}

func (p *program) examinePostgres(ctx context.Context, say func(bool, string, string)) {
	if p.config.DatabaseURL == "" {
		found := embeddedpostgres.Diagnose(ctx, nil)
		say(found.OK, "postgres", "dev runs "+found.Summary)
		for _, way := range found.WaysOut {
			_, _ = fmt.Fprintln(p.streams.Out, "               -", way)
		}
		return
	}
	config, err := pgx.ParseConfig(string(p.config.DatabaseURL))
	if err != nil {
		say(false, "postgres", errDatabaseURL.Error())
		return
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		say(false, "postgres", fmt.Sprintf("DATABASE_URL does not work: %v", err))
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	var version string
	if err := conn.QueryRow(ctx, "show server_version").Scan(&version); err != nil {
		say(false, "postgres", fmt.Sprintf("it does not answer: %v", err))
		return
	}
	pending, err := db.Pending(ctx, string(p.config.DatabaseURL))
	switch {
	case err != nil:
		say(false, "postgres", err.Error())
	case pending > 0:
		say(false, "postgres", fmt.Sprintf("version %s lacks %d migrations; run: tributary migrate", version, pending))
	default:
		say(true, "postgres", "version "+version+", migrated")
	}
}

func (p *program) examineNATS(say func(bool, string, string)) {
	nc, err := bus.Connect(p.config.natsURL(), p.natsOptions()...)
	if err != nil {
		switch {
		case p.config.NATSURL != "":
			say(false, "nats", err.Error())
		case free(p.ctx, usualPort):
			say(true, "nats", fmt.Sprintf("dev runs its own, on port %d", usualPort))
		default:
			say(true, "nats", fmt.Sprintf("dev runs its own, on another port than %d, which is taken", usualPort))
		}
		return
	}
	defer nc.Close()
	shown, err := bus.Redact(nc.ConnectedUrl())
	if err != nil {
		say(false, "nats", err.Error())
		return
	}
	js, err := nc.JetStream()
	if err == nil {
		_, err = js.AccountInfo()
	}
	if err != nil {
		say(false, "nats", fmt.Sprintf("%s has no JetStream (%v); start nats-server with -js", shown, err))
		return
	}
	say(true, "nats", fmt.Sprintf("%s, version %s, with JetStream", shown, nc.ConnectedServerVersion()))
}

func (p *program) keysFrom() string {
	switch {
	case p.config.Keys != "":
		return "from TRIBUTARY_KEYS"
	case p.config.KeysFile != "":
		return "from " + p.config.KeysFile
	}
	return "this machine's own, in " + filepath.Join(p.config.DataDir, "keys") + "; services on several machines need TRIBUTARY_KEYS"
}
