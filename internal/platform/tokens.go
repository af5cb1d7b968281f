package platform

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/validate"
	tokenrefresher "github.com/tributaryhq/tributary/services/token-refresher"
)

// askWithin is how long a token-refresher may take to answer.
const askWithin = 20 * time.Second

// refreshers asks token-refreshers over NATS.
type refreshers struct{ client *api.Client }

func (r refreshers) Token(ctx context.Context, provider, integration, have string, refused bool) (integrations.TokenState, error) {
	status, err := r.client.RefreshToken(ctx, api.RefreshToken{Provider: provider, Integration: integration, Have: have, Refused: refused})
	if err != nil {
		return integrations.TokenState{}, err
	}
	reason := "the integration is " + status.State
	if status.Reason != "" {
		reason += ": " + status.Reason
	}
	return integrations.TokenState{
		Usable: status.Usable, Version: status.Version, RetryAfter: time.Duration(status.RetryAfterMS) * time.Millisecond, Reason: reason,
	}, nil
}

// loader keeps integrations, and their tokens fresh.
func (p *Platform) loader(chains outbound.Config) *integrations.Loader {
	return integrations.NewLoader(p.Store, p.Registry, p.Feed, p.config.Log, chains, refreshers{api.New(p.config.NATS, askWithin)})
}

func (p *Platform) refresher(chains outbound.Config) (*tokenrefresher.Refresher, error) {
	c := p.config
	metrics, err := tokenrefresher.NewMetrics(c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return tokenrefresher.New(tokenrefresher.Config{
		Bus: p.Bus, Store: p.Store, Registry: p.Registry, Validator: validate.New(), SetAside: p.setAside, Shadows: p.grants, Transport: chains.Once(),
		Log: c.Log.With("service", TokenRefresherService), Metrics: metrics, Now: c.Now, Crash: c.Crash, Settings: c.TokenRefresher,
	})
}

// OAuthHandler is the routes that a token-refresher serves for browsers.
func (p *Platform) OAuthHandler() http.Handler { return p.tokens.Handler() }
