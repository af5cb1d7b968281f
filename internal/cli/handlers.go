package cli

import (
	"github.com/tributaryhq/tributary/internal/api"
)

// HandlersCommand is the group of commands on event types that item-workers have or had handlers for.
type HandlersCommand struct {
	List   HandlersListCommand   `cmd:"" help:"List the event types, and when a worker last had a handler for each."`
	Forget HandlersForgetCommand `cmd:"" help:"Have a type whose handler was removed stored as records, or webhooks of it ignored."`
}

// HandlersListCommand lists handlers.
type HandlersListCommand struct {
	Output
	Provider string `help:"Only one provider's." placeholder:"PROVIDER"`
}

// Run lists handlers.
func (c *HandlersListCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	all := []api.Handler{}
	list := api.ListHandlers{Provider: c.Provider, Limit: api.MaxPage}
	for more := true; more; more = list.After != nil {
		page, err := client.Handlers(env.Context, list)
		if err != nil {
			return err
		}
		all = append(all, page.Handlers...)
		list.After = page.Next
	}
	return c.print(env, all, func() error {
		rows := make([][]string, 0, len(all))
		for _, h := range all {
			rows = append(rows, []string{h.Provider, h.Kind, h.EventType, ago(env.Now(), &h.Since), ago(env.Now(), &h.SeenAt)})
		}
		return table(env, []string{"PROVIDER", "KIND", "TYPE", "SINCE", "LAST SEEN"}, rows)
	})
}

// HandlersForgetCommand forgets a handler that was removed.
type HandlersForgetCommand struct {
	Output
	Provider  string `arg:"" help:"The provider's key."`
	EventType string `arg:"" name:"type" help:"The event type, such as shop.Order."`
	Webhook   bool   `help:"The provider's handler for webhooks of the type, not the application's for items."`
	By        string `required:"" help:"Who you are, for the log." env:"USER"`
}

// Run forgets a handler.
func (c *HandlersForgetCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	forget := api.ForgetHandler{Provider: c.Provider, Kind: api.ItemHandler, EventType: c.EventType, By: c.By}
	if c.Webhook {
		forget.Kind = api.WebhookHandler
	}
	forgotten, err := client.ForgetHandler(env.Context, forget)
	if err != nil {
		return err
	}
	return c.print(env, forgotten, func() error {
		if c.Webhook {
			return say(env, "forgotten: webhooks of the type "+c.EventType+" are ignored from now on; what waits follows within minutes")
		}
		return say(env, "forgotten: items of the type "+c.EventType+" are stored as records from now on; what waits follows within minutes")
	})
}
