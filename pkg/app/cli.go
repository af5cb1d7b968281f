package app

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/cli"
)

// apiTimeout is how long one answer of a scheduler may take.
const apiTimeout = 10 * time.Second

// cliEnv is what the operator's commands work with. The connection is made when the first of them needs it, and lasts as long as the process.
func (p *program) cliEnv() *cli.Env {
	client := sync.OnceValues(func() (*api.Client, error) {
		url, err := p.natsURL()
		if err != nil {
			return nil, &api.Error{Code: api.Unavailable, Message: err.Error()}
		}
		nc, err := bus.Connect(url, append(p.natsOptions(), nats.Name("tributary cli"))...)
		if err != nil {
			return nil, &api.Error{Code: api.Unavailable, Message: err.Error() + "; start one with tributary dev, or point --nats-url at it"}
		}
		return api.New(nc, apiTimeout), nil
	})
	return &cli.Env{
		Context: p.ctx, Client: client, In: p.streams.In, Out: p.streams.Out, Err: p.streams.Err, Now: time.Now,
		Prompt: cli.TerminalPrompt(p.streams.In, p.streams.Err),
	}
}
