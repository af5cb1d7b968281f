package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/validate"
	"github.com/tributaryhq/tributary/pkg/events"
)

// serveAPI answers the API until ctx ends. All schedulers share the requests; those that need a provider's code go to one that has it.
func (s *Scheduler) serveAPI(ctx context.Context) error {
	routes, err := s.routes()
	if err != nil {
		return err
	}
	server := api.Server{Conn: s.Bus.Conn(), Log: s.Log, Grace: s.Settings.Grace, Explain: s.explain}
	return server.Serve(ctx, "Integrations, runs, dead items, cursors and commands of Tributary", routes)
}

func (s *Scheduler) routes() ([]api.Route, error) {
	routes := []api.Route{
		{Endpoint: api.IntegrationsList, Answer: api.Takes(s.listIntegrations)},
		{Endpoint: api.IntegrationsShow, Answer: api.Takes(s.showIntegration)},
		{Endpoint: api.IntegrationsDelete, Answer: api.Takes(s.deleteIntegration)},
		{Endpoint: api.RunsList, Answer: api.Takes(s.listRuns)},
		{Endpoint: api.RunsShow, Answer: api.Takes(s.showRun)},
		{Endpoint: api.ItemsDead, Answer: api.Takes(s.listDead)},
		{Endpoint: api.ItemsShow, Answer: api.Takes(s.showDead)},
		{Endpoint: api.WebhooksList, Answer: api.Takes(s.listWebhooks)},
		{Endpoint: api.WebhooksShow, Answer: api.Takes(s.showWebhook)},
		{Endpoint: api.RequestsList, Answer: api.Takes(s.listRequests)},
		{Endpoint: api.RequestsShow, Answer: api.Takes(s.showRequest)},
		{Endpoint: api.RequestsKeys, Answer: api.Takes(s.listKeys)},
		{Endpoint: api.RequestsResolve, Answer: api.Takes(s.resolveKey)},
		{Endpoint: api.OutboxList, Answer: api.Takes(s.listSetAside)},
		{Endpoint: api.OutboxRetry, Answer: api.Takes(s.retrySetAside)},
		{Endpoint: api.OutboxDrop, Answer: api.Takes(s.dropSetAside)},
		{Endpoint: api.HandlersList, Answer: api.Takes(s.listHandlers)},
		{Endpoint: api.HandlersForget, Answer: api.Takes(s.forgetHandler)},
		{Endpoint: api.PruneRun, Answer: api.Takes(s.prune)},
		{Endpoint: api.CircuitOverride, Answer: api.Takes(s.overrideCircuit)},
		{Endpoint: api.CircuitShow, Answer: api.Takes(s.showCircuit)},
		{Endpoint: api.CursorShow, Answer: api.Takes(s.showCursor)},
		{Endpoint: api.RecordsCount, Answer: api.Takes(s.countRecords)},
		{Endpoint: api.HealthList, Answer: api.Takes(s.listHealth)},
		{Endpoint: api.StatsList, Answer: api.Takes(s.listStats)},
		{Endpoint: api.IncidentsList, Answer: api.Takes(s.listIncidents)},
		{Endpoint: api.IncidentsShow, Answer: api.Takes(s.showIncident)},
		{Endpoint: api.IncidentsResolve, Answer: api.Takes(s.resolveIncident)},
		// Each scheduler knows its own providers, so all of them answer.
		{Endpoint: api.ProvidersList, Answer: api.Takes(s.listProviders), Everybody: true},
	}
	for _, verb := range events.Verbs() {
		routes = append(routes, api.Route{Endpoint: api.CommandEndpoint(verb), Answer: s.commandAnswer(verb)})
	}
	for _, key := range s.Registry.Keys() {
		provider, err := s.Registry.Provider(key)
		if err != nil {
			return nil, err
		}
		writer := &integrationWriter{Scheduler: s, key: key, provider: provider}
		routes = append(routes,
			api.Route{Endpoint: api.IntegrationsCreate, Provider: key, Answer: api.Takes(writer.create)},
			api.Route{Endpoint: api.IntegrationsUpdate, Provider: key, Answer: api.Takes(writer.update)},
			api.Route{Endpoint: api.HealthShow, Provider: key, Answer: api.Takes(s.showHealth)},
			api.Route{Endpoint: api.HealthTest, Provider: key, Answer: api.Takes(s.testHealth)},
			api.Route{Endpoint: api.RateLimitSet, Provider: key, Answer: api.Takes(writer.setRateLimit)},
			api.Route{Endpoint: api.RateLimitClear, Provider: key, Answer: api.Takes(writer.clearRateLimit)},
			api.Route{Endpoint: api.RateLimitStatusShow, Provider: key, Answer: api.Takes(writer.showRateLimit)})
	}
	return routes, nil
}

// explain says why a request was not carried out. What only the log may know becomes an internal error.
func (s *Scheduler) explain(endpoint api.Endpoint, err error) *api.Error {
	var known *api.Error
	var rejected *rejection
	var invalid *validate.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &rejected):
		return &api.Error{Code: api.Refused, Message: rejected.reason}
	case errors.As(err, &invalid):
		e := &api.Error{Code: api.Invalid, Message: "these fields are not valid:"}
		for _, p := range invalid.Problems {
			e.Problems = append(e.Problems, api.Problem{Field: p.Field, Message: p.Message})
		}
		return e
	case errors.Is(err, events.ErrCommand):
		return &api.Error{Code: api.Invalid, Message: err.Error()}
	case errors.Is(err, postgres.ErrCredentialsChanged):
		return &api.Error{Code: api.Conflict, Message: "somebody else changed the credentials at the same time; look at them and try again"}
	case errors.Is(err, secret.ErrUnknownKey), errors.Is(err, secret.ErrOpen):
		return &api.Error{Code: api.Refused, Message: err.Error()}
	case errors.Is(err, panics.ErrLeftBehind):
		s.Log.Error("a provider's code does not return", "endpoint", endpoint, "error", err)
		return &api.Error{Code: api.Internal, Message: err.Error()}
	case postgres.Unavailable(err), postgres.Locked(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		s.Log.Warn("could not answer a request in time", "endpoint", endpoint, "error", err)
		return &api.Error{Code: api.Unavailable, Message: "the scheduler can't reach Postgres, or it takes too long; try again"}
	default:
		panics.Report(s.Log, err, "endpoint", endpoint)
		s.Log.Error("could not answer a request", "endpoint", endpoint, "error", err)
		return &api.Error{Code: api.Internal, Message: fmt.Sprintf("the scheduler failed at %s; its log says why", endpoint)}
	}
}

// listed is a list for people.
func listed[T ~string](names []T) string {
	texts := make([]string, 0, len(names))
	for _, name := range names {
		texts = append(texts, string(name))
	}
	return strings.Join(texts, ", ")
}

func invalidf(format string, args ...any) error { return api.Invalidf(format, args...) }

func notFoundf(format string, args ...any) error { return api.NotFoundf(format, args...) }
