package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/bus"
	embeddedpostgres "github.com/tributaryhq/tributary/internal/embedded/postgres"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
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
	ring, err := p.existingRing()
	p.examinePostgres(ctx, ring, say)
	p.examineNATS(ctx, say)
	switch {
	case err != nil:
		say(false, "keys", err.Error())
	case ring == nil:
		say(true, "keys", "none yet; the first start makes a ring in "+p.ownKeys()+"; services on several machines need TRIBUTARY_KEYS")
	default:
		say(true, "keys", p.keysFrom())
	}
	p.examineData(say)
	if !sound {
		return errors.New("something is missing; see the lines marked FAIL")
	}
	return nil
}

// existingRing is the key ring; nil if a start would make one. Doctor looks, and writes nothing.
func (p *program) existingRing() (*secret.Ring, error) {
	if p.config.Keys == "" && p.config.KeysFile == "" {
		if _, err := os.Stat(p.ownKeys()); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	return p.keyRing(slog.New(slog.DiscardHandler))
}

// examineData says where dev keeps its data, or will.
func (p *program) examineData(say func(bool, string, string)) {
	absolute, _ := filepath.Abs(p.config.DataDir)
	info, err := os.Stat(absolute)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		say(true, "data", "dev will keep everything in "+absolute+", which is not there yet")
	case err == nil && !info.IsDir():
		say(false, "data", absolute+" is no folder; choose another with --data-dir")
	case err != nil:
		say(false, "data", fmt.Sprintf("%v; choose another folder with --data-dir", err))
	default:
		say(true, "data", "dev keeps everything in "+absolute)
	}
}

// examinePostgres looks at the database, and whether a ring opens what is sealed there; without a ring it looks at the
// database alone.
func (p *program) examinePostgres(ctx context.Context, ring *secret.Ring, say func(bool, string, string)) {
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
	conn, err := pgx.ConnectConfig(ctx, config) // unlike a service, doctor does not wait for a server
	if err != nil {
		say(false, "postgres", fmt.Sprintf("DATABASE_URL does not work: %v", err))
		return
	}
	_ = conn.Close(ctx)
	pool, pooled, err := p.connectPostgres(ctx, string(p.config.DatabaseURL), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		say(false, "postgres", fmt.Sprintf("DATABASE_URL does not work: %v", err))
		return
	}
	defer pool.Close()
	server, err := postgres.InspectServer(ctx, pool)
	if err != nil {
		say(false, "postgres", fmt.Sprintf("it does not answer: %v", err))
		return
	}
	if err := server.Check(); err != nil {
		say(false, "postgres", fmt.Sprintf("DATABASE_URL does not work: %v", err))
		return
	}
	if err := tributary.CheckMigrations(ctx, pool); err != nil {
		say(false, "postgres", fmt.Sprintf("version %s: %v", server.Version, err))
		return
	}
	for _, warning := range server.Warnings() {
		say(true, "postgres", "warning: "+warning)
	}
	if pooled && p.config.DatabaseDirectURL == "" {
		say(true, "postgres", "warning: a connection pooler is between; set TRIBUTARY_DATABASE_DIRECT_URL, without which changes are noticed a second later and migrate is refused")
	}
	say(true, "postgres", "version "+server.Version+", migrated")
	if err := postgres.New(pool, ring).CheckRing(ctx); err != nil {
		say(false, "keys", err.Error())
	}
}

func (p *program) examineNATS(ctx context.Context, say func(bool, string, string)) {
	url, err := p.natsURL()
	if err != nil {
		where := fmt.Sprintf("on port %d", usualPort)
		if !free(p.ctx, usualPort) {
			where = fmt.Sprintf("on another port than %d, which is taken", usualPort)
		}
		say(true, "nats", "dev runs its own, "+where)
		return
	}
	nc, err := bus.Connect(url, p.natsOptions()...)
	if err != nil {
		say(false, "nats", err.Error())
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
		say(false, "nats", fmt.Sprintf("%s has no JetStream (%v); start nats-server with -js, and of a cluster more than half of its servers", shown, err))
	} else {
		say(true, "nats", fmt.Sprintf("%s, version %s, with JetStream", shown, nc.ConnectedServerVersion()))
	}
	client := api.New(nc, 5*time.Second)
	examineServices(ctx, client, say)
	examineIncidents(ctx, client.Incidents, say)
}

// clockTold is from which difference on a clock is worth a word.
const clockTold = time.Second

// examineServices tells how the processes are that run on this NATS: whether they are ready, and if not why and since when.
func examineServices(ctx context.Context, client *api.Client, say func(bool, string, string)) {
	processes, err := client.Processes(ctx)
	if api.CodeOf(err) == api.Unavailable {
		say(true, "services", "none runs on this NATS")
		return
	}
	if err != nil {
		say(false, "services", err.Error())
		return
	}
	examineMissing(processes, say)
	for _, process := range processes {
		var troubles []string
		for _, check := range process.Checks {
			if !check.Ready {
				troubles = append(troubles, fmt.Sprintf("%s since %s: %s", check.Name, check.Since.Local().Format(time.TimeOnly), check.Error))
			}
		}
		text := process.Name + " is ready"
		if len(troubles) > 0 {
			text = process.Name + " is not ready: " + strings.Join(troubles, "; ")
		}
		if ahead := time.Duration(process.ClockAheadMS) * time.Millisecond; ahead.Abs() >= clockTold {
			text += fmt.Sprintf("; its clock is %s %s the broker's: set it right", ahead.Abs(), map[bool]string{true: "ahead of", false: "behind"}[ahead > 0])
		}
		say(len(troubles) == 0, "services", strings.Join(process.Services, ", ")+": "+text)
	}
}

// examineMissing tells of services that no process runs: without the first three nothing is synced.
func examineMissing(processes []api.Process, say func(bool, string, string)) {
	for _, service := range tributary.Services() {
		runs := func(p api.Process) bool { return slices.Contains(p.Services, service) }
		if slices.ContainsFunc(processes, runs) {
			continue
		}
		switch service {
		case tributary.WebhookIngress:
			say(true, "services", "warning: no process runs the "+service+", so that no webhooks are taken in")
		case tributary.TokenRefresher:
			say(true, "services", "warning: no process runs the "+service+", so that OAuth tokens are not refreshed")
		default:
			say(false, "services", "no process runs the "+service+": start one with: tributary "+service)
		}
	}
}

// examineIncidents warns of open incidents: of each of the whole installation, and in one line of those of integrations. Without a scheduler that answers, examineServices has
// said so.
func examineIncidents(ctx context.Context, list func(context.Context, api.ListIncidents) (api.IncidentPage, error), say func(bool, string, string)) {
	integrations := 0
	var newest api.Incident
	for before := ""; ; {
		page, err := list(ctx, api.ListIncidents{Open: true, Before: before, Limit: api.MaxPage})
		if err != nil {
			return
		}
		for _, i := range page.Incidents {
			if i.Integration == "" {
				say(true, "incidents", fmt.Sprintf("warning: %s: %s. Then run: tributary incidents resolve %s", i.OpenedAt.Local().Format(time.DateTime), i.Reason, i.ID))
				continue
			}
			if integrations++; integrations == 1 {
				newest = i
			}
		}
		if before = page.Next; before == "" {
			break
		}
	}
	if integrations > 0 {
		say(true, "incidents", fmt.Sprintf("warning: integrations have %d open incidents, the newest of %s: %s. See: tributary incidents list --open",
			integrations, newest.Integration, newest.Reason))
	}
}

func (p *program) keysFrom() string {
	switch {
	case p.config.Keys != "":
		return "from TRIBUTARY_KEYS"
	case p.config.KeysFile != "":
		return "from " + p.config.KeysFile
	}
	return "this machine's own, in " + p.ownKeys() + "; services on several machines need TRIBUTARY_KEYS"
}
