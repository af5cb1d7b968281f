package tokenrefresher

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
)

// serveAPI answers the API until ctx ends. What needs a provider's code goes to a refresher that has it.
func (r *Refresher) serveAPI(ctx context.Context) error {
	routes := []api.Route{
		{Endpoint: api.TokenShow, Answer: api.Takes(r.show)},
		{Endpoint: api.SecretsStatus, Answer: api.Takes(r.secretsStatus)},
		{Endpoint: api.SecretsRotate, Answer: api.Takes(r.secretsRotate)},
		{Endpoint: api.SecretsAudit, Answer: api.Takes(r.secretsAudit)},
	}
	for _, key := range r.keys {
		routes = append(routes,
			api.Route{Endpoint: api.TokenRefresh, Provider: key, Answer: api.Takes(r.answerDemand)})
	}
	for _, key := range r.Registry.Keys() {
		// A provider without OAuth is answered for, too: that it has none is an answer.
		routes = append(routes,
			api.Route{Endpoint: api.TokenConnect, Provider: key, Answer: api.Takes(r.link)},
			api.Route{Endpoint: api.TokenRevoke, Provider: key, Answer: api.Takes(r.answerRevoke)})
	}
	server := api.Server{Conn: r.Bus.Conn(), Log: r.Log, Grace: r.Settings.Grace, Explain: r.explain}
	return server.Serve(ctx, "OAuth tokens and sealed credentials of Tributary", routes)
}

func (r *Refresher) explain(endpoint api.Endpoint, err error) *api.Error {
	var known *api.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, errFenced), errors.Is(err, postgres.ErrCredentialsChanged):
		return &api.Error{Code: api.Conflict, Message: "somebody else changed the same thing at the same time; look at it and try again"}
	case errors.Is(err, secret.ErrUnknownKey), errors.Is(err, secret.ErrOpen):
		return &api.Error{Code: api.Refused, Message: err.Error()}
	case postgres.NotFound(err):
		return &api.Error{Code: api.NotFound, Message: "there is no such integration any more"}
	case postgres.Unavailable(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		r.Log.Warn("could not answer a request in time", "endpoint", endpoint, "error", err)
		return &api.Error{Code: api.Unavailable, Message: "the token-refresher can't reach Postgres, or it takes too long; try again"}
	default:
		panics.Report(r.Log, err, "endpoint", endpoint)
		r.Log.Error("could not answer a request", "endpoint", endpoint, "error", err)
		return &api.Error{Code: api.Internal, Message: fmt.Sprintf("the token-refresher failed at %s; its log says why", endpoint)}
	}
}

func (r *Refresher) lookup(ctx context.Context, name string) (*postgres.Integration, error) {
	row, err := r.Store.IntegrationNamed(ctx, name)
	if postgres.NotFound(err) {
		return nil, api.NotFoundf("there is no integration with the id or name %q", name)
	}
	return row, err
}

func (r *Refresher) show(ctx context.Context, q api.ByIntegration) (api.TokenStatus, error) {
	row, err := r.lookup(ctx, q.Integration)
	if err != nil {
		return api.TokenStatus{}, err
	}
	grant, err := r.Store.GrantGet(ctx, row.ID)
	if err != nil {
		return api.TokenStatus{}, fmt.Errorf("read the grant of %s: %w", row.ID, err)
	}
	if grant.State == "" {
		return api.TokenStatus{}, api.NotFoundf("integration %q has no OAuth tokens", row.Name)
	}
	settled, _ := r.settled(grant, demand{id: row.ID})
	return r.status(ctx, grant, settled)
}

func (r *Refresher) answerRevoke(ctx context.Context, q api.RevokeToken) (api.TokenStatus, error) {
	row, err := r.lookup(ctx, q.Integration)
	if err != nil {
		return api.TokenStatus{}, err
	}
	if _, ok := r.flows[row.Provider]; !ok {
		return api.TokenStatus{}, noOAuth(row.Provider)
	}
	return r.revoke(ctx, row.ID, q.LocalOnly, q.By)
}

// idOrName is an id even when the integration is gone.
func (r *Refresher) idOrName(ctx context.Context, name string) (*uuid.UUID, error) {
	if name == "" {
		return nil, nil
	}
	if id, err := uuid.Parse(name); err == nil {
		return &id, nil
	}
	row, err := r.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	return &row.ID, nil
}

func noOAuth(provider string) error {
	return api.Invalidf("provider %q has no OAuth: its integrations are connected by their credentials; see: tributary integrations update --help", provider)
}
