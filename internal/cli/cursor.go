package cli

import (
	"encoding/json"

	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// CursorCommand is the group of commands on cursors.
type CursorCommand struct {
	Show  CursorShowCommand  `cmd:"" help:"Show where the next incremental sync starts."`
	Reset CursorResetCommand `cmd:"" help:"Move the cursor, backwards too, or remove it."`
}

// CursorShowCommand shows a cursor.
type CursorShowCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
}

// Run shows the cursor. Without --json it is printed as it is, for a later reset.
func (c *CursorShowCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	cursor, err := client.Cursor(env.Context, c.Integration)
	if err != nil {
		return err
	}
	return c.print(env, cursor, func() error { return say(env, cursorText(cursor.Cursor)) })
}

// CursorResetCommand resets a cursor.
type CursorResetCommand struct {
	Output
	Integration string  `arg:"" help:"Its id or name."`
	To          *string `xor:"target" required:"" placeholder:"JSON" help:"The new cursor as JSON: a string needs its quotes."`
	None        bool    `xor:"target" required:"" help:"Remove the cursor: the next sync enumerates everything."`
	Cancel      bool    `help:"Cancel the open run first; without it an open run is a reason to refuse."`
	By          string  `help:"Who you are." env:"USER"`
}

// Run resets the cursor.
func (c *CursorResetCommand) Run(env *Env) error {
	if c.To != nil && !json.Valid([]byte(*c.To)) {
		return usagef(`--to %s is not JSON; a string needs its quotes: --to '"2026-01-31T00:00:00Z"'`, *c.To)
	}
	return c.sendAndPrint(env, events.VerbResetCursor, &eventsv1.Command{
		Integration: c.Integration, To: c.To, None: c.None, Cancel: c.Cancel, By: c.By,
	})
}
