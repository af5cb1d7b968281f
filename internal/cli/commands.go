package cli

import (
	"fmt"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// send has a command carried out.
func send(env *Env, verb events.Verb, command *eventsv1.Command) (*eventsv1.CommandReply, error) {
	client, err := env.Client()
	if err != nil {
		return nil, err
	}
	return client.Command(env.Context, verb, command)
}

// sendAndPrint has a command carried out and prints what came of it.
func (o Output) sendAndPrint(env *Env, verb events.Verb, command *eventsv1.Command) error {
	reply, err := send(env, verb, command)
	if err != nil {
		return err
	}
	return o.printReply(env, reply)
}

// SyncCommand starts a sync.
type SyncCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	Full        bool   `help:"Enumerate everything, not only what changed since the cursor."`
	Follow      bool   `short:"f" help:"Follow the run until it is closed; ends with 1 unless it succeeded. Behind an open run, wait for that first."`
}

// Run starts a sync, or has it follow the open run.
func (c *SyncCommand) Run(env *Env) error {
	command := &eventsv1.Command{Integration: c.Integration}
	if c.Full {
		command.Mode = "full"
	}
	if !c.Follow {
		return c.sendAndPrint(env, events.VerbSync, command)
	}
	reply, err := send(env, events.VerbSync, command)
	if err != nil {
		return err
	}
	progress := *env
	progress.Out = env.Err
	if err := (Output{}).printReply(&progress, reply); err != nil {
		return err
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	id := reply.GetRunId()
	if reply.GetResult() == "queued-behind" {
		if id, err = behind(env, client, id); err != nil {
			return err
		}
	}
	return c.follow(env, client, id)
}

// behind waits for the end of the run that a sync is queued behind, and returns the id of the sync's own run.
func behind(env *Env, client *api.Client, id string) (string, error) {
	_, _ = fmt.Fprintf(env.Err, "the sync starts when run %s, which is open, has ended\n", id)
	ahead, err := untilClosed(env, client, id)
	if err != nil {
		return "", err
	}
	own, err := after(env, client, ahead)
	if err != nil {
		return "", err
	}
	_, _ = fmt.Fprintf(env.Err, "run %s ended as %s; following run %s\n", ahead.ID, ahead.State, own.ID)
	return own.ID, nil
}

// CancelCommand cancels the open run.
type CancelCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	Reason      string `help:"Why."`
	By          string `help:"Who you are." env:"USER"`
}

// Run cancels the open run.
func (c *CancelCommand) Run(env *Env) error {
	return c.sendAndPrint(env, events.VerbCancel, &eventsv1.Command{Integration: c.Integration, Reason: c.Reason, By: c.By})
}

// PauseCommand pauses an integration.
type PauseCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	Reason      string `help:"Why."`
	By          string `help:"Who you are." env:"USER"`
}

// Run pauses the integration.
func (c *PauseCommand) Run(env *Env) error {
	return c.sendAndPrint(env, events.VerbPause, &eventsv1.Command{Integration: c.Integration, Reason: c.Reason, By: c.By})
}

// ResumeCommand resumes an integration.
type ResumeCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	By          string `help:"Who you are." env:"USER"`
}

// Run resumes the integration.
func (c *ResumeCommand) Run(env *Env) error {
	return c.sendAndPrint(env, events.VerbResume, &eventsv1.Command{Integration: c.Integration, By: c.By})
}

// EnableCommand enables an integration.
type EnableCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	Reason      string `help:"Why."`
	By          string `help:"Who you are." env:"USER"`
}

// Run enables the integration.
func (c *EnableCommand) Run(env *Env) error {
	return c.sendAndPrint(env, events.VerbEnable, &eventsv1.Command{Integration: c.Integration, Reason: c.Reason, By: c.By})
}
