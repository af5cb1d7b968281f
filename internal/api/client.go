package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tributaryhq/tributary/pkg/events"
)

// Client asks schedulers. Its methods return an [*Error] when the answer is one, and when nobody answers. It is safe for concurrent use.
type Client struct {
	nc      *nats.Conn
	timeout time.Duration
}

// New returns a client on a connection, which stays the caller's to close. timeout is how long one answer may take.
func New(nc *nats.Conn, timeout time.Duration) *Client {
	return &Client{nc: nc, timeout: timeout}
}

// Integrations returns one page.
func (c *Client) Integrations(ctx context.Context, list ListIntegrations) (IntegrationPage, error) {
	return ask[IntegrationPage](ctx, c, IntegrationsList, "", list)
}

// Integration returns one integration with its details, by id or name.
func (c *Client) Integration(ctx context.Context, integration string) (Integration, error) {
	return ask[Integration](ctx, c, IntegrationsShow, "", ByIntegration{Integration: integration})
}

// CreateIntegration makes a connection and returns it.
func (c *Client) CreateIntegration(ctx context.Context, create CreateIntegration) (Integration, error) {
	return ask[Integration](ctx, c, IntegrationsCreate, create.Provider, create)
}

// UpdateIntegration changes a connection and returns it. An empty Provider is looked up first.
func (c *Client) UpdateIntegration(ctx context.Context, update UpdateIntegration) (Integration, error) {
	var err error
	if update.Provider, err = c.providerOf(ctx, update.Provider, update.Integration); err != nil {
		return Integration{}, err
	}
	return ask[Integration](ctx, c, IntegrationsUpdate, update.Provider, update)
}

// DeleteIntegration removes a connection and all that belongs to it.
func (c *Client) DeleteIntegration(ctx context.Context, remove DeleteIntegration) error {
	_, err := ask[struct{}](ctx, c, IntegrationsDelete, "", remove)
	return err
}

// Runs returns one page.
func (c *Client) Runs(ctx context.Context, list ListRuns) (RunPage, error) {
	return ask[RunPage](ctx, c, RunsList, "", list)
}

// Run returns one run with its progress.
func (c *Client) Run(ctx context.Context, id string) (Run, error) {
	return ask[Run](ctx, c, RunsShow, "", ByID{ID: id})
}

// DeadItems returns one page.
func (c *Client) DeadItems(ctx context.Context, list ListDeadItems) (DeadItemPage, error) {
	return ask[DeadItemPage](ctx, c, ItemsDead, "", list)
}

// DeadItem returns one dead item with its payload.
func (c *Client) DeadItem(ctx context.Context, id string) (DeadItem, error) {
	return ask[DeadItem](ctx, c, ItemsShow, "", ByID{ID: id})
}

// Webhooks returns one page.
func (c *Client) Webhooks(ctx context.Context, list ListWebhooks) (WebhookPage, error) {
	return ask[WebhookPage](ctx, c, WebhooksList, "", list)
}

// Webhook returns one webhook with its request.
func (c *Client) Webhook(ctx context.Context, id string) (Webhook, error) {
	return ask[Webhook](ctx, c, WebhooksShow, "", ByID{ID: id})
}

// Cursor returns an integration's cursor.
func (c *Client) Cursor(ctx context.Context, integration string) (Cursor, error) {
	return ask[Cursor](ctx, c, CursorShow, "", ByIntegration{Integration: integration})
}

// Records counts an integration's records in the built-in sink.
func (c *Client) Records(ctx context.Context, integration string) (RecordCount, error) {
	return ask[RecordCount](ctx, c, RecordsCount, "", ByIntegration{Integration: integration})
}

func ask[Reply any](ctx context.Context, c *Client, endpoint Endpoint, provider string, request any) (reply Reply, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return reply, &Error{Code: Invalid, Message: fmt.Sprintf("the request of %s is not JSON: %v", endpoint, err)}
	}
	answer, err := c.request(ctx, endpoint, provider, body)
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return reply, fmt.Errorf("read the reply of %s: %w", endpoint, err)
	}
	return reply, nil
}

func (c *Client) request(ctx context.Context, endpoint Endpoint, provider string, body []byte) ([]byte, error) {
	if provider != "" && !events.ValidToken(provider) {
		return nil, &Error{Code: Invalid, Message: fmt.Sprintf("%q can't be the key of a provider", provider)}
	}
	if len(body) > MaxRequestBytes {
		return nil, Invalidf("the request has %d bytes, it can have %d at most", len(body), MaxRequestBytes)
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	msg := nats.NewMsg(endpoint.Subject(provider))
	msg.Data = body
	msg.Header.Set(events.HeaderContentType, events.ContentJSON)
	answer, err := c.nc.RequestMsgWithContext(limited, msg)
	if err != nil {
		return nil, c.explain(ctx, endpoint, provider, err)
	}
	var raw json.RawMessage
	err = read(answer, &raw)
	return raw, err
}

// read decodes an answer, which may be an error.
func read(msg *nats.Msg, into any) error {
	code := msg.Header.Get(micro.ErrorCodeHeader)
	if code == "" {
		return json.Unmarshal(msg.Data, into)
	}
	var e Error
	if json.Unmarshal(msg.Data, &e) == nil && e.Code != "" {
		return &e
	}
	return &Error{Code: Code(code), Message: msg.Header.Get(micro.ErrorHeader)}
}

// explain says what to do when no answer came.
func (c *Client) explain(ctx context.Context, endpoint Endpoint, provider string, err error) error {
	switch {
	case ctx.Err() != nil && !errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("ask for %s: %w", endpoint, ctx.Err())
	case errors.Is(err, nats.ErrNoResponders) && endpoint.isRefreshers():
		return &Error{Code: Unavailable, Message: fmt.Sprintf("no token-refresher answers %s on %s: start one, with the provider in its binary, by `tributary token-refresher`",
			endpoint.Subject(provider), c.address())}
	case errors.Is(err, nats.ErrNoResponders) && provider != "":
		return c.noProvider(ctx, provider)
	case errors.Is(err, nats.ErrNoResponders):
		return &Error{Code: Unavailable, Message: fmt.Sprintf("no scheduler answers on %s: start one with `tributary scheduler`, or `tributary dev` for everything", c.address())}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return &Error{Code: Unavailable, Message: fmt.Sprintf("no answer from %s within %s; what was asked for may still be carried out", c.address(), c.timeout)}
	case errors.Is(err, nats.ErrMaxPayload):
		return &Error{Code: Invalid, Message: fmt.Sprintf("the request is larger than NATS takes (%d bytes)", c.nc.MaxPayload())}
	default:
		return &Error{Code: Unavailable, Message: fmt.Sprintf("can't ask NATS at %s: %v", c.address(), err)}
	}
}

func (c *Client) address() string {
	return cmp.Or(c.nc.ConnectedUrlRedacted(), "NATS")
}
