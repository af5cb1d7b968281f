package cli

import (
	"fmt"
	"strconv"

	"github.com/tributaryhq/tributary/internal/api"
)

// OutboxCommand is the group of commands on messages that the broker refuses, and on other work that is set aside.
type OutboxCommand struct {
	List  OutboxListCommand  `cmd:"" help:"List what is set aside, newest first."`
	Retry OutboxRetryCommand `cmd:"" help:"Try one again now, or all."`
	Drop  OutboxDropCommand  `cmd:"" help:"Have one tried no more; a message is deleted."`
}

// OutboxListCommand lists what is set aside.
type OutboxListCommand struct {
	Output
	Kind  string `help:"Only one kind of work: message, close-run, and so on." placeholder:"KIND"`
	All   bool   `help:"Also what has failed a few times only, and what was dropped."`
	Limit int    `help:"How many at most." default:"50"`
}

// Run lists what is set aside.
func (c *OutboxListCommand) Run(env *Env) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	all := []api.SetAside{}
	for before := ""; len(all) < c.Limit; {
		page, err := client.SetAside(env.Context, api.ListSetAside{Kind: c.Kind, All: c.All, Before: before, Limit: min(c.Limit-len(all), api.MaxPage)})
		if err != nil {
			return err
		}
		all = append(all, page.SetAside...)
		if before = page.Next; before == "" {
			break
		}
	}
	return c.print(env, all, func() error {
		rows := make([][]string, 0, len(all))
		for _, a := range all {
			about := a.About
			if about == "" {
				about = a.Key
			}
			next := ""
			if a.NextTryAt != nil {
				next = ago(env.Now(), a.NextTryAt)
			}
			rows = append(rows, []string{a.ID, a.Kind, a.Status, about, strconv.Itoa(int(a.Tries)), ago(env.Now(), &a.FailedFirst), next, a.Error})
		}
		return table(env, []string{"ID", "KIND", "STATUS", "ABOUT", "TRIES", "SINCE", "NEXT TRY", "ERROR"}, rows)
	})
}

// OutboxRetryCommand tries again what is set aside.
type OutboxRetryCommand struct {
	Output
	ID   string `arg:"" optional:"" help:"Its id, from the list."`
	All  bool   `help:"Everything that is set aside."`
	Kind string `help:"Only one kind of work, with --all." placeholder:"KIND"`
	By   string `help:"Who you are, for the log." env:"USER"`
}

// Run retries one or all.
func (c *OutboxRetryCommand) Run(env *Env) error {
	if (c.ID == "") != c.All || c.Kind != "" && !c.All {
		return usagef("give an id, or --all, or --all --kind KIND")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	done, err := client.RetrySetAside(env.Context, api.RetrySetAside{ID: c.ID, All: c.All, Kind: c.Kind, By: c.By})
	if err != nil {
		return err
	}
	return c.print(env, done, func() error {
		if done.Retried == 0 {
			return say(env, "nothing is set aside")
		}
		return say(env, fmt.Sprintf("retrying %d; what fails again is listed again", done.Retried))
	})
}

// OutboxDropCommand drops what is set aside.
type OutboxDropCommand struct {
	Output
	ID     string `arg:"" help:"Its id, from the list."`
	Reason text   `required:"" help:"Why it is dropped."`
	By     string `required:"" help:"Who drops it." env:"USER"`
}

// Run drops one.
func (c *OutboxDropCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	dropped, err := client.DropSetAside(env.Context, api.DropSetAside{ID: c.ID, Reason: string(c.Reason), By: c.By})
	if err != nil {
		return err
	}
	return c.print(env, dropped, func() error {
		if dropped.Kind == "message" {
			return say(env, "dropped: the message on "+dropped.About+" is deleted and will not be published")
		}
		return say(env, "dropped: "+dropped.Kind+" "+dropped.Key+" is tried no more; tributary outbox retry "+dropped.ID+" takes that back")
	})
}
