package app

// WebhookConfig is how webhooks are taken in.
type WebhookConfig struct {
	Addr    string `help:"Where webhooks come in; dev takes another port where this one is taken." env:"TRIBUTARY_WEBHOOK_ADDR" default:":8090" placeholder:"ADDR"`
	Prefix  string `help:"What stands before /<provider>/<integration>/webhook." env:"TRIBUTARY_WEBHOOK_PREFIX" default:"/integrations" placeholder:"PATH"`
	Backlog int    `help:"MiB that verified webhooks may take in NATS until they are in Postgres; the same for all services." env:"TRIBUTARY_WEBHOOK_BACKLOG" default:"512"`

	BodyBudget  int `help:"MiB that the bodies of webhooks may take in memory until they are stored." env:"TRIBUTARY_WEBHOOK_BODY_BUDGET" default:"64"`
	Connections int `help:"Connections that a webhook-ingress keeps open, idle ones included." env:"TRIBUTARY_WEBHOOK_CONNECTIONS" default:"1024"`
}
