package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
)

// IntegrationsCreateCommand makes one.
type IntegrationsCreateCommand struct {
	Output
	MetadataFlags   `embed:""`
	CredentialFlags `embed:""`

	Provider string        `arg:"" help:"The provider's key: see tributary providers list."`
	Name     string        `help:"A unique name; the provider's own by default."`
	Owner    string        `help:"Whose it is: anything that your application knows."`
	Interval time.Duration `help:"Time between syncs, whole minutes; the provider's default if not given." placeholder:"15m"`
	Paused   bool          `help:"Start paused."`
	By       string        `help:"Who you are, for the log." env:"USER"`
}

// Run creates an integration. On a terminal it asks for the required credentials that are not given.
func (c *IntegrationsCreateCommand) Run(env *Env) error {
	create := api.CreateIntegration{Provider: c.Provider, Name: c.Name, Owner: c.Owner, Paused: c.Paused, By: c.By}
	if c.Interval != 0 {
		create.SyncInterval = c.Interval.String()
	}
	var err error
	if create.Metadata, err = c.MetadataFlags.object(); err != nil {
		return err
	}
	credentials, err := c.fields(env.In)
	if err != nil {
		return err
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	if credentials, err = askMissing(env, client, c.Provider, credentials); err != nil {
		return err
	}
	if create.Credentials, err = encodeFields(credentials); err != nil {
		return err
	}
	created, err := client.CreateIntegration(env.Context, create)
	if err != nil {
		return err
	}
	return c.print(env, created, func() error { return showIntegration(env, created) })
}

// askMissing prompts for the required credentials that are not given, where somebody can be asked.
func askMissing(env *Env, client *api.Client, key string, credentials map[string]any) (map[string]any, error) {
	if env.Prompt == nil {
		return credentials, nil
	}
	providers, err := client.Providers(env.Context)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(providers, func(p api.Provider) bool { return p.Key == key })
	if at < 0 {
		return credentials, nil
	}
	for _, field := range providers[at].Credentials {
		if _, given := credentials[field.Name]; given || !field.Required || strings.Contains(field.Name, ".") {
			continue
		}
		secret, err := env.Prompt(providers[at].Name + " " + field.Name)
		if err != nil {
			return nil, err
		}
		if credentials == nil {
			credentials = map[string]any{}
		}
		credentials[field.Name] = secret
	}
	return credentials, nil
}

// IntegrationsUpdateCommand changes one.
type IntegrationsUpdateCommand struct {
	Output
	MetadataFlags   `embed:""`
	CredentialFlags `embed:""`

	Integration string  `arg:"" help:"Its id or name."`
	Owner       *string `help:"Whose it is."`
	Interval    *string `help:"Time between syncs, whole minutes; default goes back to the provider's." placeholder:"15m"`
	By          string  `help:"Who you are, for the events." env:"USER"`
}

// Run updates an integration: fields of metadata and credentials that are not given stay as they are.
func (c *IntegrationsUpdateCommand) Run(env *Env) error {
	update := api.UpdateIntegration{Integration: c.Integration, Owner: c.Owner, SyncInterval: c.Interval, By: c.By}
	if c.Interval != nil && *c.Interval == "default" {
		none := ""
		update.SyncInterval = &none
	}
	var err error
	if update.Metadata, err = c.MetadataFlags.object(); err != nil {
		return err
	}
	if update.Credentials, err = c.CredentialFlags.object(env.In); err != nil {
		return err
	}
	if update.Owner == nil && update.SyncInterval == nil && update.Metadata == nil && update.Credentials == nil {
		return usagef("nothing to change: give --metadata, --credential, --interval or --owner")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	updated, err := client.UpdateIntegration(env.Context, update)
	if err != nil {
		return err
	}
	return c.print(env, updated, func() error { return showIntegration(env, updated) })
}
