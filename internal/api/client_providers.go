package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// gatherFor is how long is waited for another process's answer after the last one.
const gatherFor = 250 * time.Millisecond

// Providers gathers what all schedulers that answer have compiled in, sorted by key. Without an answer it returns an [*Error]; a scheduler that
// fails doesn't hide the others.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) {
	lists, err := gather[ProviderList](ctx, c, ProvidersList)
	if err != nil {
		return nil, err
	}
	byKey := map[string]Provider{}
	for _, list := range lists {
		for _, p := range list.Providers {
			byKey[p.Key] = p
		}
	}
	providers := make([]Provider, 0, len(byKey))
	for _, p := range byKey {
		providers = append(providers, p)
	}
	slices.SortFunc(providers, func(a, b Provider) int { return cmp.Compare(a.Key, b.Key) })
	return providers, nil
}

// gather returns the answers of all processes that have an endpoint. One that fails doesn't hide the others; its error is returned when there is nothing else.
func gather[Reply any](ctx context.Context, c *Client, endpoint Endpoint) (replies []Reply, err error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	inbox := c.nc.NewRespInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, c.explain(ctx, endpoint, "", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishRequest(endpoint.Subject(""), inbox, nil); err != nil {
		return nil, c.explain(ctx, endpoint, "", err)
	}
	var failed error
	for answers := 0; ; answers++ {
		msg, err := next(limited, sub, answers > 0)
		if answers > 0 && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			break
		}
		if err != nil {
			return nil, c.explain(ctx, endpoint, "", err)
		}
		var reply Reply
		if err := read(msg, &reply); err != nil {
			failed = err
			continue
		}
		replies = append(replies, reply)
	}
	if len(replies) == 0 {
		return nil, failed
	}
	return replies, nil
}

// next waits for an answer: a full time for the first, and a moment for each further one.
func next(ctx context.Context, sub *nats.Subscription, further bool) (*nats.Msg, error) {
	if !further {
		return sub.NextMsgWithContext(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, gatherFor)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// noProvider tells a provider that nobody has from a NATS without schedulers.
func (c *Client) noProvider(ctx context.Context, provider string) error {
	providers, err := c.Providers(ctx)
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(providers))
	for _, p := range providers {
		keys = append(keys, p.Key)
	}
	return &Error{Code: NotFound, Message: fmt.Sprintf(
		"no scheduler with the provider %q answers on %s: start one whose binary has it; the providers that answer are: %s",
		provider, c.address(), cmp.Or(strings.Join(keys, ", "), "none"))}
}
