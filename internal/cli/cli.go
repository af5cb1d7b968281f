// Package cli is the operator's commands: integrations, runs, dead items, cursors. They ask a scheduler through internal/api, so that they work
// from anywhere that reaches NATS. pkg/app embeds [Commands] in the program's command line.
//
// Tables are for people and may change. With --json a command prints one JSON value, the types of internal/api, which only grow: an array
// for a list, an object for the rest; a command that is carried out prints {"accepted":true,"result":"…","run_id":"…"}. What was asked for goes to the
// standard output, progress and errors to the standard error. The exit code is 0 when it was done, 1 when it failed or was refused, 2 when the
// command line is wrong, 3 when what it names does not exist, 4 when nobody answers.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
	"golang.org/x/term"

	"github.com/tributaryhq/tributary/internal/api"
)

// The exit codes.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitUnavailable = 4
)

// pollEvery is how often a followed run is looked at.
const pollEvery = 500 * time.Millisecond

// Env is what a command works with.
type Env struct {
	Context context.Context
	// Client connects when it is first called.
	Client func() (*api.Client, error)
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	Now    func() time.Time
	// Prompt asks for a secret without showing it; nil where nobody can be asked. See [TerminalPrompt].
	Prompt func(label string) (string, error)
	// Poll is how often a followed run is looked at; 0 means twice a second.
	Poll time.Duration
}

// Commands are the operator's commands, to be embedded in a command line of kong's.
type Commands struct {
	Integrations IntegrationsCommand `cmd:"" help:"Integrations: list, show, create, update, delete, connect, revoke."`
	Providers    ProvidersCommand    `cmd:"" help:"Providers that the running schedulers have compiled in."`
	Sync         SyncCommand         `cmd:"" help:"Start a sync now."`
	Cancel       CancelCommand       `cmd:"" help:"Cancel the open run of an integration."`
	Pause        PauseCommand        `cmd:"" help:"Pause an integration: nothing of it is synced or handled."`
	Resume       ResumeCommand       `cmd:"" help:"Let a paused integration go on."`
	Runs         RunsCommand         `cmd:"" help:"Runs: list, show."`
	Items        ItemsCommand        `cmd:"" help:"Dead items: list, show, retry, skip."`
	Webhooks     WebhooksCommand     `cmd:"" help:"Webhooks: list, show, replay, skip, recover."`
	Requests     RequestsCommand     `cmd:"" help:"Requests to third parties: list, show, idempotency keys."`
	Outbox       OutboxCommand       `cmd:"" help:"Messages and other work that is set aside because it failed: list, retry, drop."`
	Handlers     HandlersCommand     `cmd:"" help:"Event types that an item-worker has or had a handler for: list, forget."`
	Prune        PruneCommand        `cmd:"" help:"Delete what is older than it is kept; schedulers do so every day."`
	RateLimit    RateLimitCommand    `cmd:"" help:"Request budgets: status, set, clear."`
	Circuit      CircuitCommand      `cmd:"" help:"Circuits: status, open, close, disable, auto."`
	Cursor       CursorCommand       `cmd:"" help:"Cursors: show, reset."`
	Health       HealthCommand       `cmd:"" help:"How integrations fare, and whose their credentials are."`
	Test         TestCommand         `cmd:"" help:"Ask upstreams how they are; ends with 1 if any fails."`
	Stats        StatsCommand        `cmd:"" help:"How requests and syncs went."`
	Incidents    IncidentsCommand    `cmd:"" help:"Incidents: list, show, resolve."`
	Secrets      SecretsCommand      `cmd:"" help:"Sealed credentials: keys, their rotation, the audit."`
}

// usageError is a mistake in the command line that only the command itself can see.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// Explain is an error of the parser for people. The parser looks for flags before arguments: who gave neither is told of both.
func Explain(err error) error {
	var failed *kong.ParseError
	if !errors.As(err, &failed) || !strings.HasPrefix(err.Error(), "missing flags: ") || failed.Context.Selected() == nil {
		return err
	}
	missing := []string{}
	for _, argument := range failed.Context.Selected().Positional {
		given := slices.ContainsFunc(failed.Context.Path, func(p *kong.Path) bool { return p.Positional == argument })
		if argument.Required && !given {
			missing = append(missing, argument.Summary())
		}
	}
	if len(missing) == 0 {
		return err
	}
	return fmt.Errorf("missing %s, and %w", strings.Join(missing, " "), err)
}

// oneOf refuses a value that is none of some; empty is as if the flag was not given.
func oneOf(value string, values ...string) error {
	if value == "" || slices.Contains(values, value) {
		return nil
	}
	return fmt.Errorf("must be one of %s, and is %q", strings.Join(values, ", "), value)
}

// text is the value of a flag that must say something. The parser calls Validate, so that an empty one is a usage
// error.
type text string

func (t text) Validate() error {
	if strings.TrimSpace(string(t)) == "" {
		return errors.New("must not be empty")
	}
	return nil
}

// ExitCode is what the process ends with.
func ExitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &usage), api.CodeOf(err) == api.Invalid:
		return ExitUsage
	case api.CodeOf(err) == api.NotFound:
		return ExitNotFound
	case api.CodeOf(err) == api.Unavailable, errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrConnectionClosed):
		return ExitUnavailable
	default:
		return ExitFailed
	}
}

// TerminalPrompt returns a prompt when in is a terminal, and else nil.
func TerminalPrompt(in io.Reader, out io.Writer) func(label string) (string, error) {
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return func(label string) (string, error) {
		_, _ = fmt.Fprintf(out, "%s: ", label)
		secret, err := term.ReadPassword(int(file.Fd()))
		_, _ = fmt.Fprintln(out)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", label, err)
		}
		return string(secret), nil
	}
}
