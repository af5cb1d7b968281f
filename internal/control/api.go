package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/control/commands"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/validate"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// serve answers the API until ctx ends. All schedulers share the requests; those that need a provider's code go to one
// that has it.
func (c *Control) serve(ctx context.Context) error {
	routes, err := c.routes()
	if err != nil {
		return err
	}
	server := api.Server{Conn: c.Bus.Conn(), Log: c.Log, Grace: c.Settings.Commands.Grace, Explain: c.explain}
	return server.Serve(ctx, "Integrations, runs, dead items, cursors and commands of Tributary", routes)
}

func (c *Control) routes() ([]api.Route, error) {
	health := healthAPI{c}
	routes := slices.Concat(
		integrationsAPI{c}.routes(), runsAPI{c}.routes(), webhooksAPI{c}.routes(), requestsAPI{c}.routes(),
		setAsideAPI{c}.routes(),
		handlersAPI{c}.routes(), circuitsAPI{c}.routes(), health.routes(), incidentsAPI{c}.routes(),
		providersAPI{c}.routes(),
		[]api.Route{{Endpoint: api.PruneRun, Answer: api.Takes(c.housekeeping.Prune)}},
	)
	for _, verb := range events.Verbs() {
		routes = append(routes, api.Route{Endpoint: api.CommandEndpoint(verb), Answer: c.command(verb)})
	}
	for _, key := range c.Registry.Keys() {
		provider, err := c.Registry.Provider(key)
		if err != nil {
			return nil, err
		}
		routes = append(routes, (&integrationWriter{Control: c, key: key, provider: provider}).routes()...)
		routes = append(routes, health.routesOf(key)...)
	}
	return routes, nil
}

// command carries out a command as if it came from the stream, and replies with its result in the form of the request.
// A request with a message id may be sent twice.
func (c *Control) command(verb events.Verb) api.Answer {
	return func(ctx context.Context, r micro.Request) ([]byte, error) {
		contentType := r.Headers().Get(events.HeaderContentType)
		command, err := events.DecodeCommand(verb, contentType, r.Data())
		if err != nil {
			return nil, err
		}
		integration, err := c.lookup(ctx, command.GetIntegration())
		if err != nil {
			return nil, err
		}
		id := r.Headers().Get(nats.MsgIdHdr)
		if id != "" {
			id = "api/" + id
		}
		result, runID, err := c.commands.Do(ctx, verb, integration.ID.String(), command, id)
		if err != nil {
			c.Metrics.Commands.Rejected(verb)
			return nil, err
		}
		return encodeReply(contentType, &eventsv1.CommandReply{Accepted: true, Result: result, RunId: runID})
	}
}

func encodeReply(contentType string, reply *eventsv1.CommandReply) ([]byte, error) {
	if strings.HasPrefix(contentType, events.ContentProtobuf) {
		return proto.Marshal(reply)
	}
	return protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(reply)
}

// explain turns an error into an answer of the API. Unexpected errors are logged and answered as internal errors.
func (c *Control) explain(endpoint api.Endpoint, err error) *api.Error {
	var known *api.Error
	var rejected *commands.Rejection
	var invalid *validate.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &rejected):
		return &api.Error{Code: api.Refused, Message: rejected.Reason}
	case errors.As(err, &invalid):
		e := &api.Error{Code: api.Invalid, Message: "these fields are not valid:"}
		for _, p := range invalid.Problems {
			e.Problems = append(e.Problems, api.Problem{Field: p.Field, Message: p.Message})
		}
		return e
	case errors.Is(err, events.ErrCommand):
		return &api.Error{Code: api.Invalid, Message: err.Error()}
	case errors.Is(err, postgres.ErrCredentialsChanged):
		return &api.Error{
			Code:    api.Conflict,
			Message: "somebody else changed the credentials at the same time; look at them and try again",
		}
	case errors.Is(err, secret.ErrUnknownKey), errors.Is(err, secret.ErrOpen):
		return &api.Error{Code: api.Refused, Message: err.Error()}
	case errors.Is(err, panics.ErrLeftBehind):
		c.Log.Error("a provider's code does not return", "endpoint", endpoint, "error", err)
		return &api.Error{Code: api.Internal, Message: err.Error()}
	case postgres.Unavailable(err), postgres.Locked(err), errors.Is(
		err, context.DeadlineExceeded,
	), errors.Is(err, context.Canceled):
		c.Log.Warn("could not answer a request in time", "endpoint", endpoint, "error", err)
		return &api.Error{
			Code: api.Unavailable, Message: "the scheduler can't reach Postgres, or it takes too long; try again",
		}
	default:
		panics.Report(c.Log, err, "endpoint", endpoint)
		c.Log.Error("could not answer a request", "endpoint", endpoint, "error", err)
		return &api.Error{
			Code: api.Internal, Message: fmt.Sprintf("the scheduler failed at %s; its log says why", endpoint),
		}
	}
}

// listed joins names for a message to a person.
func listed[T ~string](names []T) string {
	texts := make([]string, 0, len(names))
	for _, name := range names {
		texts = append(texts, string(name))
	}
	return strings.Join(texts, ", ")
}

func refusedf(format string, args ...any) error {
	return &api.Error{Code: api.Refused, Message: fmt.Sprintf(format, args...)}
}
