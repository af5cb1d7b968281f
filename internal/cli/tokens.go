package cli

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
)

// IntegrationsConnectCommand makes a link under which a user authorizes an integration.
type IntegrationsConnectCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	Wait        bool   `help:"Wait until the user has authorized, or the link has expired."`
	By          string `help:"Who you are, for the events and the audit." env:"USER"`
}

// Run prints the link, which is all that it takes: give it to the one whose account is to be connected, and to nobody else.
func (c *IntegrationsConnectCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	before, err := client.Token(env.Context, c.Integration)
	if err != nil && api.CodeOf(err) != api.NotFound {
		return err
	}
	link, err := client.ConnectIntegration(env.Context, api.ConnectIntegration{Integration: c.Integration, By: c.By})
	if err != nil {
		return err
	}
	if err := c.print(env, link, func() error { return say(env, link.URL) }); err != nil || !c.Wait {
		return err
	}
	for {
		now, err := client.Token(env.Context, c.Integration)
		if err == nil && now.State == "connected" && now.Version != before.Version {
			_, err := fmt.Fprintln(env.Err, "connected")
			return err
		}
		if !env.Now().Before(link.ExpiresAt) {
			return &api.Error{Code: api.Refused, Message: "the link has expired, and nobody has authorized"}
		}
		select {
		case <-env.Context.Done():
			return env.Context.Err()
		case <-time.After(cmp.Or(env.Poll, pollEvery)):
		}
	}
}

// IntegrationsRevokeCommand ends a grant.
type IntegrationsRevokeCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	LocalOnly   bool   `help:"Drop the tokens here without asking the upstream, for when that is gone."`
	By          string `help:"Who you are, for the events and the audit." env:"USER"`
}

// Run revokes upstream, and then here.
func (c *IntegrationsRevokeCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	status, err := client.RevokeToken(env.Context, api.RevokeToken{Integration: c.Integration, LocalOnly: c.LocalOnly, By: c.By})
	if err != nil {
		return err
	}
	return c.print(env, status, func() error { return say(env, orNone(status.Reason)) })
}

// IntegrationsTokenCommand tells of the tokens of an integration.
type IntegrationsTokenCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
}

// Run shows how an integration's OAuth tokens are; never the tokens.
func (c *IntegrationsTokenCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	status, err := client.Token(env.Context, c.Integration)
	if err != nil {
		return err
	}
	return c.print(env, status, func() error {
		return sheet(env, []pair{
			{"integration", status.Integration},
			{"provider", status.Provider},
			{"state", status.State},
			{"because", status.Reason},
			{"expires", stamp(status.ExpiresAt)},
			{"refreshed", stamp(status.RefreshAt)},
		})
	})
}
