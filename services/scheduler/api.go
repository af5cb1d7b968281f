package scheduler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/validate"
	"github.com/tributaryhq/tributary/pkg/events"
)

// answerWithin is how long the answer to one request may take.
const answerWithin = 30 * time.Second

// answer makes the reply to a request.
type answer func(ctx context.Context, r micro.Request) ([]byte, error)

// apiServer lets handlers finish when the service stops, and refuses those that come late.
type apiServer struct {
	*Scheduler
	ctx     context.Context
	gate    sync.RWMutex
	stopped bool
}

// serveAPI answers the API until ctx ends. All schedulers share the requests; those that need a provider's code go to one that has it.
func (s *Scheduler) serveAPI(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &apiServer{Scheduler: s, ctx: work}
	service, err := micro.AddService(s.Bus.Conn(), micro.Config{
		Name: events.APIService, Version: api.Version, Description: "Integrations, runs, dead items, cursors and commands of Tributary",
	})
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	err = server.addEndpoints(service)
	if err == nil {
		<-ctx.Done()
	}
	stopErr := service.Stop()
	hurry := time.AfterFunc(s.Settings.Grace, cancel)
	defer hurry.Stop()
	server.gate.Lock()
	server.stopped = true
	server.gate.Unlock()
	if err == nil && stopErr != nil && s.Bus.Ready() == nil {
		s.Log.Warn("could not stop serving the API cleanly", "error", stopErr)
	}
	return err
}

func (a *apiServer) addEndpoints(service micro.Service) error {
	endpoints := map[api.Endpoint]answer{
		api.IntegrationsList:   takes(a.listIntegrations),
		api.IntegrationsShow:   takes(a.showIntegration),
		api.IntegrationsDelete: takes(a.deleteIntegration),
		api.RunsList:           takes(a.listRuns),
		api.RunsShow:           takes(a.showRun),
		api.ItemsDead:          takes(a.listDead),
		api.ItemsShow:          takes(a.showDead),
		api.CursorShow:         takes(a.showCursor),
		api.RecordsCount:       takes(a.countRecords),
	}
	for _, verb := range events.Verbs() {
		endpoints[api.CommandEndpoint(verb)] = a.commandAnswer(verb)
	}
	for endpoint, answer := range endpoints {
		if err := a.add(service, endpoint, "", answer); err != nil {
			return err
		}
	}
	for _, key := range a.Registry.Keys() {
		provider, err := a.Registry.Provider(key)
		if err != nil {
			return err
		}
		writer := &integrationWriter{Scheduler: a.Scheduler, key: key, provider: provider}
		if err := a.add(service, api.IntegrationsCreate, key, takes(writer.create)); err != nil {
			return err
		}
		if err := a.add(service, api.IntegrationsUpdate, key, takes(writer.update)); err != nil {
			return err
		}
	}
	// Each scheduler knows its own providers, so all of them answer.
	return a.add(service, api.ProvidersList, "", takes(a.listProviders), micro.WithEndpointQueueGroupDisabled())
}

func (a *apiServer) add(service micro.Service, endpoint api.Endpoint, provider string, answer answer, opts ...micro.EndpointOpt) error {
	name := strings.ReplaceAll(string(endpoint), ".", "-")
	if provider != "" {
		name += "-" + provider
	}
	handler := micro.HandlerFunc(func(r micro.Request) { a.respond(r, endpoint, answer) })
	opts = append(opts, micro.WithEndpointSubject(endpoint.Subject(provider)))
	if err := service.AddEndpoint(name, handler, opts...); err != nil {
		return fmt.Errorf("serve %s: %w", endpoint.Subject(provider), err)
	}
	return nil
}

// respond answers one request, whatever happens on the way.
func (a *apiServer) respond(r micro.Request, endpoint api.Endpoint, answer answer) {
	a.gate.RLock()
	defer a.gate.RUnlock()
	reply, err := a.guarded(r, answer)
	if most := a.Bus.Conn().MaxPayload(); err == nil && most > 0 && int64(len(reply)) > most {
		err = &api.Error{Code: api.Invalid, Message: "the answer is too large for one message; ask for fewer rows"}
	}
	if err == nil {
		err = r.Respond(reply)
	} else {
		err = refuse(r, a.explain(endpoint, err), reply)
	}
	if err != nil {
		a.Log.Warn("could not answer a request", "endpoint", endpoint, "error", err)
	}
}

func (a *apiServer) guarded(r micro.Request, answer answer) (reply []byte, err error) {
	if a.stopped {
		return nil, &api.Error{Code: api.Unavailable, Message: "this scheduler is stopping; ask again"}
	}
	ctx, cancel := context.WithTimeout(a.ctx, answerWithin)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return answer(ctx, r)
}

// explain says why a request was not carried out. What only the log may know becomes an internal error.
func (a *apiServer) explain(endpoint api.Endpoint, err error) *api.Error {
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
	case postgres.Unavailable(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		a.Log.Warn("could not answer a request in time", "endpoint", endpoint, "error", err)
		return &api.Error{Code: api.Unavailable, Message: "the scheduler can't reach Postgres, or it takes too long; try again"}
	default:
		a.Log.Error("could not answer a request", "endpoint", endpoint, "error", err)
		return &api.Error{Code: api.Internal, Message: fmt.Sprintf("the scheduler failed at %s; its log says why", endpoint)}
	}
}

// refuse sends an error, with the body that the endpoint has for it or else the error as JSON.
func refuse(r micro.Request, e *api.Error, body []byte) error {
	if body == nil {
		var err error
		if body, err = encode(e); err != nil {
			return err
		}
	}
	return r.Error(string(e.Code), e.Error(), body)
}

// takes makes an answer of a function over a request and a reply in JSON. An empty request is an empty object.
func takes[Request, Reply any](handle func(context.Context, Request) (Reply, error)) answer {
	return func(ctx context.Context, r micro.Request) ([]byte, error) {
		var request Request
		if err := decode(r.Data(), &request); err != nil {
			return nil, err
		}
		reply, err := handle(ctx, request)
		if err != nil {
			return nil, err
		}
		return encode(reply)
	}
}

func decode(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		// A syntax error quotes one character at most, a type error only the kind of value, so that no secret gets out.
		return invalidf("the request is not what this endpoint takes: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return invalidf("something follows the JSON object of the request")
	}
	return nil
}

// encode leaves < and > as they are: cursors and payloads are shown as they were stored.
func encode(reply any) ([]byte, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(reply); err != nil {
		return nil, fmt.Errorf("encode the reply: %w", err)
	}
	return bytes.TrimSpace(body.Bytes()), nil
}

func invalidf(format string, args ...any) error {
	return &api.Error{Code: api.Invalid, Message: fmt.Sprintf(format, args...)}
}

func notFoundf(format string, args ...any) error {
	return &api.Error{Code: api.NotFound, Message: fmt.Sprintf(format, args...)}
}
