package app

// WebhookConfig is how webhooks are taken in.
type WebhookConfig struct {
	Addr    string `help:"Address for webhooks; dev uses another port if this one is taken." env:"TRIBUTARY_WEBHOOK_ADDR" default:":8090" placeholder:"ADDR"`
	Prefix  string `help:"Path before /<provider>/<integration>/webhook." env:"TRIBUTARY_WEBHOOK_PREFIX" default:"/integrations" placeholder:"PATH"`
	Backlog int    `help:"MiB in NATS for verified webhooks that are not in Postgres yet; the same for all services." env:"TRIBUTARY_WEBHOOK_BACKLOG" default:"512"`

	BodyBudget  int `help:"MiB of memory for the bodies of webhooks that are not stored yet." env:"TRIBUTARY_WEBHOOK_BODY_BUDGET" default:"64"`
	Connections int `help:"Connections that a webhook-ingress keeps open, including idle ones." env:"TRIBUTARY_WEBHOOK_CONNECTIONS" default:"1024"`
}
