package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/runstate"
)

// patience is how many times on end a followed run may get no answer.
const patience = 10

// RunsCommand is the group of commands on runs.
type RunsCommand struct {
	List RunsListCommand `cmd:"" help:"List runs, newest first."`
	Show RunsShowCommand `cmd:"" help:"Show one, and follow it to its end."`
}

// RunsListCommand lists runs.
type RunsListCommand struct {
	Output
	Integration string `help:"Only those of one integration." placeholder:"NAME"`
	Open        bool   `help:"Only open ones."`
	Limit       int    `help:"How many at most." default:"50"`
}

// Run lists runs.
func (c *RunsListCommand) Run(env *Env) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	runs := []api.Run{}
	for before := ""; len(runs) < c.Limit; {
		page, err := client.Runs(env.Context, api.ListRuns{
			Integration: c.Integration, Open: c.Open, Before: before, Limit: min(c.Limit-len(runs), api.MaxPage),
		})
		if err != nil {
			return err
		}
		runs = append(runs, page.Runs...)
		if before = page.Next; before == "" {
			break
		}
	}
	return c.print(env, runs, func() error {
		rows := make([][]string, 0, len(runs))
		for _, r := range runs {
			items, done, dead := countsOf(r)
			rows = append(rows, []string{
				r.ID, r.Integration, stateOf(r), string(r.Mode), string(r.Cause), number(items), number(done),
				number(dead), ago(env.Now(), &r.CreatedAt), took(env.Now(), r),
			})
		}
		return table(env, []string{
			"RUN", "INTEGRATION", "STATE", "MODE", "CAUSE", "ITEMS", "DONE", "DEAD", "STARTED",
			"TOOK",
		}, rows)
	})
}

// countsOf returns the numbers of a run: those of an open one are how far it has come.
func countsOf(r api.Run) (items, done, dead int64) {
	if r.Progress == nil {
		return r.Items, r.Done, r.Dead
	}
	items = r.Items
	if r.Progress.Total != nil {
		items = *r.Progress.Total
	}
	return items, r.Progress.Done, r.Progress.Dead
}

// RunsShowCommand shows one run.
type RunsShowCommand struct {
	Output
	ID     string `arg:"" help:"The run's id."`
	Follow bool   `short:"f" help:"Follow it until it is closed; ends with 1 unless it succeeded."`
}

// Run shows a run.
func (c *RunsShowCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	if c.Follow {
		return c.follow(env, client, c.ID)
	}
	run, err := client.Run(env.Context, c.ID)
	if err != nil {
		return err
	}
	return c.print(env, run, func() error { return showRun(env, run) })
}

// follow prints the run at its end. It is an error unless the run succeeded.
func (o Output) follow(env *Env, client *api.Client, id string) error {
	run, err := untilClosed(env, client, id)
	if err != nil {
		return err
	}
	if err := o.print(env, run, func() error { return showRun(env, run) }); err != nil {
		return err
	}
	if run.State != runstate.Succeeded {
		return fmt.Errorf("run %s ended as %s", run.ID, run.State)
	}
	return nil
}

// untilClosed waits for the end of a run, with a line whenever something has changed, or has not for long.
func untilClosed(env *Env, client *api.Client, id string) (api.Run, error) {
	every := env.Poll
	if every <= 0 {
		every = pollEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	progress, silent := progress{}, 0
	for {
		run, err := client.Run(env.Context, id)
		switch {
		case err == nil && !run.Open():
			return run, nil
		case err == nil:
			silent = 0
			if line := progress.line(run, env.Now()); line != "" {
				_, _ = fmt.Fprintln(env.Err, line)
			}
		case api.CodeOf(err) != api.Unavailable || silent == patience:
			return api.Run{}, err
		default:
			silent++
		}
		select {
		case <-env.Context.Done():
			return api.Run{}, fmt.Errorf("follow run %s: %w", id, env.Context.Err())
		case <-ticker.C:
		}
	}
}

// after returns the run that was opened next after one of the same integration.
func after(env *Env, client *api.Client, run api.Run) (api.Run, error) {
	next := api.Run{}
	for before := ""; ; {
		page, err := client.Runs(env.Context, api.ListRuns{
			Integration: run.IntegrationID, Before: before,
			Limit: api.MaxPage,
		})
		if err != nil {
			return api.Run{}, err
		}
		for _, r := range page.Runs {
			if r.ID != run.ID {
				next = r
				continue
			}
			if next.ID == "" {
				return api.Run{},
					&api.Error{Code: api.Refused, Message: "run " + run.ID + " ended as " + string(run.State) +
						", and the sync behind it has not started: the integration is not active, and the sync starts " +
						"when it is resumed"}
			}
			return next, nil
		}
		if before = page.Next; before == "" {
			return api.Run{}, &api.Error{Code: api.NotFound, Message: "run " + run.ID + " is no longer listed"}
		}
	}
}

// quietAfter is after how long without a change a followed run tells what it waits for; then after twice as long.
const quietAfter = 10 * time.Second

// progress is what was told of a followed run.
type progress struct {
	last    string
	changed time.Time
	// next is how long nothing has to change before that is told.
	next time.Duration
}

// line is what is to be told of the run now; empty for nothing.
func (p *progress) line(run api.Run, now time.Time) string {
	if line := progressLine(run); line != p.last {
		p.last, p.changed, p.next = line, now, quietAfter
		return line
	}
	waits, quiet := waitsFor(run), now.Sub(p.changed)
	if waits == "" || quiet < p.next {
		return ""
	}
	p.next *= 2
	return fmt.Sprintf("%s: nothing new for %s; waiting for %s", run.State, quiet.Round(time.Second), waits)
}

// waitsFor is what a run needs to go on; empty where its line says it.
func waitsFor(run api.Run) string {
	switch run.State {
	case runstate.Due:
		return "a syncer with the provider " + run.Provider
	case runstate.Enumerating:
		return "the provider " + run.Provider + " and its upstream"
	case runstate.Working:
		return "handlers and retries"
	default:
		return ""
	}
}

// progressLine is an open run in one line.
func progressLine(run api.Run) string {
	line := stateOf(run)
	if p := run.Progress; p != nil && (p.Finished > 0 || p.Retrying > 0 || p.Total != nil) {
		of := ""
		if p.Total != nil {
			of = " of " + number(*p.Total)
		}
		skipped := ""
		if p.Skipped > 0 {
			skipped = number(p.Skipped) + " skipped, "
		}
		line += fmt.Sprintf(": %s%s items finished, %s%s dead, %s waiting for another try",
			number(p.Finished), of, skipped, number(p.Dead), number(p.Retrying))
	}
	if run.Error != "" {
		line += " (" + OneLine(run.Error) + ")"
	}
	return line
}

func showRun(env *Env, r api.Run) error {
	items, _, _ := countsOf(r)
	pairs := []pair{
		{"run", r.ID},
		{"integration", r.Integration},
		{"provider", r.Provider},
		{"state", stateOf(r)},
		{"mode", string(r.Mode)},
		{"cause", string(r.Cause)},
		{"attempt", strconv.Itoa(int(r.Attempt))},
		{"started", stamp(&r.CreatedAt)},
		{"closed", stamp(r.ClosedAt)},
		{"took", took(env.Now(), r)},
		{"waits until", stamp(r.WaitingUntil)},
		{"items", number(items)},
	}
	if r.Open() {
		pairs = append(pairs, pair{"progress", progressLine(r)})
	} else {
		pairs = append(pairs, pair{"done", number(r.Done)}, pair{"dead", number(r.Dead)},
			pair{"skipped", number(r.Skipped)})
	}
	for _, skip := range r.SkipReasons {
		pairs = append(pairs, pair{"skip reason", number(skip.Items) + " × " + skip.Reason})
	}
	err := sheet(env, append(pairs,
		pair{"duplicates", number(r.Duplicates)},
		pair{"then", string(r.FollowUp)},
		pair{"resolution", string(r.Resolution)},
		pair{"error", r.Error},
	))
	if err != nil || len(r.Waiting) == 0 {
		return err
	}
	return showWaiting(env, r.Waiting)
}

// showWaiting is a table of items that wait for another try.
func showWaiting(env *Env, items []api.WaitingItem) error {
	if _, err := fmt.Fprintln(env.Out); err != nil {
		return err
	}
	rows := make([][]string, 0, len(items))
	for _, i := range items {
		next := "unknown"
		switch {
		case i.Until == nil:
		case i.Until.After(env.Now()):
			next = ago(env.Now(), i.Until)
		default:
			next = "now"
		}
		rows = append(rows, []string{
			orNone(i.EventType), orNone(i.ExternalID), strconv.Itoa(int(i.Tries)), next,
			i.Error,
		})
	}
	return table(env, []string{"EVENT", "ID", "TRIES", "NEXT TRY", "WHY IT WAITS"}, rows)
}

// stateOf is the state, and for a waiting run whether it waits for a time or for a resume.
func stateOf(r api.Run) string {
	if r.State == runstate.Waiting && r.WaitingUntil != nil {
		return "waiting until " + stamp(r.WaitingUntil)
	}
	if r.State == runstate.Waiting {
		return "waiting for a resume"
	}
	if r.Open() && r.WaitingUntil != nil {
		return string(r.State) + ", waiting until " + stamp(r.WaitingUntil)
	}
	return string(r.State)
}

func took(now time.Time, r api.Run) string {
	if r.ClosedAt != nil {
		now = *r.ClosedAt
	}
	return short(max(now.Sub(r.CreatedAt), 0))
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
