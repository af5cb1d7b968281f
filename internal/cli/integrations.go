package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
)

// IntegrationsCommand is the group of commands on integrations.
type IntegrationsCommand struct {
	List    IntegrationsListCommand    `cmd:"" help:"List integrations by name."`
	Show    IntegrationsShowCommand    `cmd:"" help:"Show one with its metadata and the names of its credentials."`
	Create  IntegrationsCreateCommand  `cmd:"" help:"Create one; it is synced at once unless it starts paused."`
	Enable  EnableCommand              `cmd:"" help:"Make a disabled one active, or one of bad health healthy, without waiting for a probe."`
	Update  IntegrationsUpdateCommand  `cmd:"" help:"Change what is given and leave the rest."`
	Delete  IntegrationsDeleteCommand  `cmd:"" help:"Delete one with its runs, dead items and records, and revoke its OAuth grant."`
	Connect IntegrationsConnectCommand `cmd:"" help:"Make a link under which its user authorizes it, for the first time or again."`
	Token   IntegrationsTokenCommand   `cmd:"" help:"Show how its OAuth tokens are."`
	Revoke  IntegrationsRevokeCommand  `cmd:"" help:"Revoke its OAuth grant, upstream and here."`
}

// IntegrationsListCommand lists all.
type IntegrationsListCommand struct {
	Output
	Provider string `help:"Only those of one provider." placeholder:"KEY"`
}

// Run lists integrations.
func (c *IntegrationsListCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	all, err := everyPage(c.Provider, func(list api.ListIntegrations) ([]api.Integration, string, error) {
		page, err := client.Integrations(env.Context, list)
		return page.Integrations, page.Next, err
	})
	if err != nil {
		return err
	}
	return c.print(env, all, func() error {
		rows := make([][]string, 0, len(all))
		for _, i := range all {
			next := ago(env.Now(), i.NextSyncAt)
			if i.Status != "active" {
				next = "-"
			}
			rows = append(rows, []string{
				i.Name, i.Provider, statusOf(i), intervalOf(i.SyncInterval), ago(env.Now(), i.LastSyncedAt), next, strconv.Itoa(int(i.ConsecutiveSyncFailures)),
			})
		}
		return table(env, []string{"NAME", "PROVIDER", "STATUS", "INTERVAL", "LAST SYNC", "NEXT SYNC", "FAILURES"}, rows)
	})
}

// IntegrationsShowCommand shows one.
type IntegrationsShowCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
}

// Run shows an integration.
func (c *IntegrationsShowCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	integration, err := client.Integration(env.Context, c.Integration)
	if err != nil {
		return err
	}
	return c.print(env, integration, func() error { return showIntegration(env, integration) })
}

func showIntegration(env *Env, i api.Integration) error {
	details := i.Details
	if details == nil {
		details = &api.IntegrationDetails{}
	}
	return sheet(env, []pair{
		{"name", i.Name},
		{"id", i.ID},
		{"provider", i.Provider},
		{"owner", i.Owner},
		{"status", statusOf(i)},
		{"because", i.StatusReason},
		{"identity", identityOf(details.Identity)},
		{"interval", intervalOf(i.SyncInterval)},
		{"last sync", ago(env.Now(), i.LastSyncedAt)},
		{"next sync", ago(env.Now(), i.NextSyncAt)},
		{"failures", strconv.Itoa(int(i.ConsecutiveSyncFailures))},
		{"open run", details.OpenRun},
		{"cursor", cursorText(details.Cursor)},
		{"metadata", string(details.Metadata)},
		{"credentials", orNone(strings.Join(details.Credentials, ", "))},
		{"credentials problem", details.CredentialsProblem},
		{"created", stamp(&i.CreatedAt)},
		{"updated", stamp(&i.UpdatedAt)},
	})
}

// IntegrationsDeleteCommand removes one.
type IntegrationsDeleteCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	Force       bool   `help:"Cancel its open run first."`
	By          string `help:"Who you are, for the events." env:"USER"`
}

// Run deletes an integration.
func (c *IntegrationsDeleteCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	if err := client.DeleteIntegration(env.Context, api.DeleteIntegration{Integration: c.Integration, Force: c.Force, By: c.By}); err != nil {
		return err
	}
	return c.print(env, outcome{Accepted: true, Result: "deleted"}, func() error { return say(env, "deleted") })
}

func statusOf(i api.Integration) string {
	status := i.Status
	if status == "active" && i.Health != "" && i.Health != "healthy" {
		status += ", " + i.Health
	}
	if i.StaleSince != nil && i.Status == "active" {
		status += ", stale"
	}
	return status
}

func intervalOf(text string) string {
	interval, err := time.ParseDuration(text)
	if err != nil {
		return "default"
	}
	return short(interval)
}

func cursorText(cursor []byte) string {
	if len(cursor) == 0 || string(cursor) == "null" {
		return "none"
	}
	return string(cursor)
}
