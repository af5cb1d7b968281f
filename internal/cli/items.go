package cli

import (
	"strconv"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// ItemsCommand is the group of commands on dead items.
type ItemsCommand struct {
	Dead  ItemsDeadCommand  `cmd:"" help:"List dead items, newest first."`
	Show  ItemsShowCommand  `cmd:"" help:"Show one with its payload."`
	Retry ItemsRetryCommand `cmd:"" help:"Give one another go, or all of an integration."`
	Skip  ItemsSkipCommand  `cmd:"" help:"Give one up, so that the cursor can move on."`
}

// ItemsDeadCommand lists dead items.
type ItemsDeadCommand struct {
	Output
	Integration string `help:"Only those of one integration." placeholder:"NAME"`
	All         bool   `help:"Also those that are resolved, skipped or superseded."`
	Limit       int    `help:"How many at most." default:"50"`
}

// Run lists dead items.
func (c *ItemsDeadCommand) Run(env *Env) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	items := []api.DeadItem{}
	for before := ""; len(items) < c.Limit; {
		page, err := client.DeadItems(env.Context, api.ListDeadItems{
			Integration: c.Integration, All: c.All, Before: before, Limit: min(c.Limit-len(items), api.MaxPage),
		})
		if err != nil {
			return err
		}
		items = append(items, page.Items...)
		if before = page.Next; before == "" {
			break
		}
	}
	return c.print(env, items, func() error {
		rows := make([][]string, 0, len(items))
		for _, i := range items {
			rows = append(rows, []string{i.ID, i.Integration, i.Status, i.EventType, i.ExternalID, i.Reason, strconv.Itoa(int(i.Tries)), ago(env.Now(), &i.CreatedAt), i.Error})
		}
		return table(env, []string{"ITEM", "INTEGRATION", "STATUS", "EVENT", "EXTERNAL ID", "REASON", "TRIES", "DIED", "ERROR"}, rows)
	})
}

// ItemsShowCommand shows one dead item.
type ItemsShowCommand struct {
	Output
	ID string `arg:"" help:"The dead item's id."`
}

// Run shows a dead item.
func (c *ItemsShowCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	item, err := client.DeadItem(env.Context, c.ID)
	if err != nil {
		return err
	}
	return c.print(env, item, func() error { return showItem(env, item) })
}

func showItem(env *Env, i api.DeadItem) error {
	details := i.Details
	if details == nil {
		details = &api.DeadItemDetails{}
	}
	payload := string(details.Payload)
	if payload == "" || payload == "null" {
		payload = strconv.Itoa(details.PayloadBytes) + " bytes, not shown"
	}
	return sheet(env, []pair{
		{"item", i.ID},
		{"integration", i.Integration},
		{"provider", i.Provider},
		{"run", i.RunID},
		{"event", i.EventType},
		{"external id", i.ExternalID},
		{"status", i.Status},
		{"by", i.ResolvedBy},
		{"note", i.Note},
		{"reason", i.Reason},
		{"error", i.Error},
		{"tries", strconv.Itoa(int(i.Tries))},
		{"died", stamp(&i.CreatedAt)},
		{"last change", stamp(&i.UpdatedAt)},
		{"checkpoint", cursorText(details.Checkpoint)},
		{"payload", payload},
	})
}

// ItemsRetryCommand gives dead items another go.
type ItemsRetryCommand struct {
	Output
	ID          string `arg:"" optional:"" help:"The dead item's id."`
	All         bool   `help:"All dead items of the integration."`
	Integration string `help:"The integration, with --all." placeholder:"NAME"`
}

// Run retries one item or all.
func (c *ItemsRetryCommand) Run(env *Env) error {
	switch {
	case c.All && (c.ID != "" || c.Integration == ""):
		return usagef("give an item's id, or --all --integration NAME")
	case c.All:
		return c.sendAndPrint(env, events.VerbRetry, &eventsv1.Command{Integration: c.Integration, All: true})
	case c.ID == "" || c.Integration != "":
		return usagef("give an item's id, or --all --integration NAME")
	}
	integration, err := integrationOf(env, c.ID)
	if err != nil {
		return err
	}
	return c.sendAndPrint(env, events.VerbRetry, &eventsv1.Command{Integration: integration, Item: c.ID})
}

// ItemsSkipCommand gives an item up.
type ItemsSkipCommand struct {
	Output
	ID     string `arg:"" help:"The dead item's id."`
	Reason text   `required:"" help:"Why it is given up."`
	By     string `required:"" help:"Who gives it up." env:"USER"`
}

// Run skips an item.
func (c *ItemsSkipCommand) Run(env *Env) error {
	integration, err := integrationOf(env, c.ID)
	if err != nil {
		return err
	}
	return c.sendAndPrint(env, events.VerbSkip, &eventsv1.Command{Integration: integration, Item: c.ID, Reason: string(c.Reason), By: c.By})
}

// integrationOf finds whose a dead item is, which commands name.
func integrationOf(env *Env, item string) (string, error) {
	client, err := env.Client()
	if err != nil {
		return "", err
	}
	found, err := client.DeadItem(env.Context, item)
	return found.IntegrationID, err
}
