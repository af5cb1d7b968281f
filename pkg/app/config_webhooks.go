package app

import (
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/platform"
)

// WebhookConfig is how webhooks are taken in.
type WebhookConfig struct {
	Addr    string `help:"Where webhooks come in; dev takes another port where this one is taken." env:"TRIBUTARY_WEBHOOK_ADDR" default:":8090" placeholder:"ADDR"`
	Prefix  string `help:"What stands before /<provider>/<integration>/webhook." env:"TRIBUTARY_WEBHOOK_PREFIX" default:"/integrations" placeholder:"PATH"`
	Backlog int    `help:"MiB that verified webhooks may take in NATS until they are in Postgres; the same for all services." env:"TRIBUTARY_WEBHOOK_BACKLOG" default:"512"`

	BodyBudget  int `help:"MiB that the bodies of webhooks may take in memory until they are stored." env:"TRIBUTARY_WEBHOOK_BODY_BUDGET" default:"64"`
	Connections int `help:"Connections that a webhook-ingress keeps open, idle ones included." env:"TRIBUTARY_WEBHOOK_CONNECTIONS" default:"1024"`
}

// serving sets how the services that serve HTTP do so.
func (c *Config) serving(config *platform.Config) error {
	proxies, err := outbound.ParseNetworks(c.TrustedProxies)
	if err != nil {
		return err
	}
	config.WebhookAddr, config.WebhookPrefix, config.WebhookBacklog = c.Webhooks.Addr, c.Webhooks.Prefix, int64(c.Webhooks.Backlog)<<20
	ingress, refresher := &config.Ingress, &config.TokenRefresher
	ingress.BodyBudget, ingress.Connections = int64(c.Webhooks.BodyBudget)<<20, c.Webhooks.Connections
	ingress.DrainDelay, ingress.TrustedProxy = c.DrainDelay, proxies.Contain
	refresher.DrainDelay, refresher.TrustedProxy = c.DrainDelay, proxies.Contain
	return nil
}
