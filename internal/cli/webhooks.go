package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// WebhooksCommand is the group of commands on webhooks.
type WebhooksCommand struct {
	List    WebhooksListCommand    `cmd:"" help:"List webhooks, newest first."`
	Show    WebhooksShowCommand    `cmd:"" help:"Show one with its request; secrets in it are not shown."`
	Replay  WebhooksReplayCommand  `cmd:"" help:"Have one handled again, or all that failed, or all of a time."`
	Skip    WebhooksSkipCommand    `cmd:"" help:"Give a failed one up."`
	Recover WebhooksRecoverCommand `cmd:"" help:"Ask the upstream for what webhooks may have missed since a time."`
}

// WebhooksListCommand lists webhooks.
type WebhooksListCommand struct {
	Output
	Integration string        `help:"Only those of one integration." placeholder:"NAME"`
	Status      webhookStatus `help:"Only those of one status: pending, processing, processed, ignored, failed, skipped."`
	Limit       int           `help:"How many at most." default:"50"`
}

// webhookStatus is the flag of a status.
type webhookStatus string

func (s webhookStatus) Validate() error {
	return oneOf(string(s), "pending", "processing", "processed", "ignored", "failed", "skipped")
}

// Run lists webhooks.
func (c *WebhooksListCommand) Run(env *Env) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	all := []api.Webhook{}
	for before := ""; len(all) < c.Limit; {
		page, err := client.Webhooks(env.Context, api.ListWebhooks{
			Integration: c.Integration, Status: string(c.Status), Before: before, Limit: min(c.Limit-len(all), api.MaxPage),
		})
		if err != nil {
			return err
		}
		all = append(all, page.Webhooks...)
		if before = page.Next; before == "" {
			break
		}
	}
	return c.print(env, all, func() error {
		rows := make([][]string, 0, len(all))
		for _, h := range all {
			rows = append(rows, []string{h.ID, h.Integration, h.Status, h.EventType, h.DeliveryID, strconv.Itoa(int(h.Tries)), ago(env.Now(), &h.ReceivedAt), whyNot(h)})
		}
		return table(env, []string{"WEBHOOK", "INTEGRATION", "STATUS", "EVENT", "DELIVERY", "TRIES", "RECEIVED", "ERROR"}, rows)
	})
}

// whyNot is why a webhook is not done.
func whyNot(h api.Webhook) string {
	if h.Behind != "" {
		return "waits behind " + h.Behind
	}
	return h.Error
}

// WebhooksShowCommand shows one webhook.
type WebhooksShowCommand struct {
	Output
	ID string `arg:"" help:"The webhook's id."`
}

// Run shows a webhook.
func (c *WebhooksShowCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	webhook, err := client.Webhook(env.Context, c.ID)
	if err != nil {
		return err
	}
	return c.print(env, webhook, func() error { return showWebhook(env, webhook) })
}

func showWebhook(env *Env, h api.Webhook) error {
	details := h.Details
	if details == nil {
		details = &api.WebhookDetails{}
	}
	target := details.Path
	if details.Query != "" {
		target += "?" + details.Query
	}
	body := details.Body
	if body == "" && h.BodyBytes > 0 {
		body = strconv.Itoa(int(h.BodyBytes)) + " bytes, not shown"
	}
	lines := []pair{
		{"webhook", h.ID},
		{"integration", h.Integration},
		{"provider", h.Provider},
		{"delivery", h.DeliveryID},
		{"event", h.EventType},
		{"about", details.OrderingKey},
		{"status", h.Status},
		{"by", details.ResolvedBy},
		{"reason", h.Reason},
		{"error", h.Error},
		{"waits for", h.WaitingFor},
		{"waits behind", h.Behind},
		{"tries", strconv.Itoa(int(h.Tries))},
		{"replays", strconv.Itoa(int(h.Replays))},
		{"received", stamp(&h.ReceivedAt)},
		{"started", stamp(details.StartedAt)},
		{"finished", stamp(h.FinishedAt)},
		{"next try", stamp(h.NextTryAt)},
		{"result", resultText(details)},
		{"request", details.Method + " " + target},
	}
	for _, name := range slices.Sorted(maps.Keys(details.Headers)) {
		lines = append(lines, pair{"", name + ": " + strings.Join(details.Headers[name], ", ")})
	}
	return sheet(env, append(lines, pair{"body", body}))
}

func resultText(details *api.WebhookDetails) string {
	if text := string(details.Result); text != "null" {
		return text
	}
	return ""
}

// WebhooksReplayCommand has webhooks handled again.
type WebhooksReplayCommand struct {
	Output
	ID          string `arg:"" optional:"" help:"The webhook's id."`
	Integration string `help:"Those of an integration, with --failed or --since." placeholder:"NAME"`
	Failed      bool   `help:"Those that failed."`
	Since       string `help:"Those received since a time, whatever became of them: RFC 3339, or how long ago, such as 2h." placeholder:"TIME"`
	Until       string `help:"Only those received before a time." placeholder:"TIME"`
}

// Run replays one webhook or several.
func (c *WebhooksReplayCommand) Run(env *Env) error {
	several := c.Failed || c.Since != "" || c.Until != ""
	if (c.ID == "") != several || several != (c.Integration != "") {
		return usagef("give a webhook's id, or --integration NAME with --failed, --since or --until")
	}
	if c.ID != "" {
		integration, err := integrationOfWebhook(env, c.ID)
		if err != nil {
			return err
		}
		return c.sendAndPrint(env, events.VerbReplay, &eventsv1.Command{Integration: integration, Webhook: c.ID})
	}
	since, err := instant(env, c.Since)
	if err != nil {
		return err
	}
	until, err := instant(env, c.Until)
	if err != nil {
		return err
	}
	return c.sendAndPrint(env, events.VerbReplay, &eventsv1.Command{
		Integration: c.Integration, Failed: c.Failed, Since: stamp(since), Until: stamp(until),
	})
}

// WebhooksSkipCommand gives a webhook up.
type WebhooksSkipCommand struct {
	Output
	ID     string `arg:"" help:"The webhook's id."`
	Reason text   `required:"" help:"Why it is given up."`
	By     string `required:"" help:"Who gives it up." env:"USER"`
}

// Run skips a webhook.
func (c *WebhooksSkipCommand) Run(env *Env) error {
	integration, err := integrationOfWebhook(env, c.ID)
	if err != nil {
		return err
	}
	return c.sendAndPrint(env, events.VerbSkip, &eventsv1.Command{Integration: integration, Webhook: c.ID, Reason: string(c.Reason), By: c.By})
}

// WebhooksRecoverCommand closes a gap with a sync.
type WebhooksRecoverCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	Since       string `required:"" help:"From when on: RFC 3339, or how long ago, such as 2h." placeholder:"TIME"`
}

// Run starts a sync from an earlier time; the cursor never moves back.
func (c *WebhooksRecoverCommand) Run(env *Env) error {
	since, err := instant(env, c.Since)
	if err != nil {
		return err
	}
	return c.sendAndPrint(env, events.VerbRecover, &eventsv1.Command{Integration: c.Integration, Since: stamp(since)})
}

// instant reads a time, or how long ago it was. Empty is nil.
func instant(env *Env, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		at := env.Now().Add(-ago)
		return &at, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usagef("%q is neither a time such as 2026-01-31T00:00:00Z nor a duration such as 2h", text)
	}
	return &at, nil
}

// integrationOfWebhook finds whose a webhook is, which commands name.
func integrationOfWebhook(env *Env, id string) (string, error) {
	client, err := env.Client()
	if err != nil {
		return "", err
	}
	found, err := client.Webhook(env.Context, id)
	if err != nil {
		return "", fmt.Errorf("look up webhook %s: %w", id, err)
	}
	return found.IntegrationID, nil
}
