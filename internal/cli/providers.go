package cli

import (
	"strings"

	"github.com/tributaryhq/tributary/internal/api"
)

// ProvidersCommand is the group of commands on providers.
type ProvidersCommand struct {
	List ProvidersListCommand `cmd:"" help:"List the providers of all schedulers that answer."`
}

// ProvidersListCommand lists providers.
type ProvidersListCommand struct {
	Output
}

// Run lists providers. A star marks required fields.
func (c *ProvidersListCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	providers, err := client.Providers(env.Context)
	if err != nil {
		return err
	}
	return c.print(env, providers, func() error {
		rows := make([][]string, 0, len(providers))
		for _, p := range providers {
			interval := "-"
			if p.Scheduled {
				interval = intervalOf(p.DefaultInterval)
			}
			rows = append(rows, []string{p.Key, p.Name, interval, fieldNames(p.Credentials), fieldNames(p.Metadata)})
		}
		return table(env, []string{"KEY", "NAME", "INTERVAL", "CREDENTIALS", "METADATA"}, rows)
	})
}

func fieldNames(fields []api.Field) string {
	if len(fields) == 0 {
		return "-"
	}
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		name := f.Name
		if f.Required {
			name += "*"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}
