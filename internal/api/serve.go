package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/share"
	"github.com/tributaryhq/tributary/internal/wire"
)

const (
	// answerWithin is how long the answer to one request may take.
	answerWithin = 30 * time.Second
	// answersAtATime bounds the requests that one process answers at a time, and bytesAtATime how large they are
	// together. Endpoints share both, so that one whose answers do not come leaves room for the others; the rest waits.
	answersAtATime = 256
	bytesAtATime   = 16 << 20
	// mostWaiting bounds the requests that wait at one endpoint, and how large they are together. NATS' client drops
	// what is more.
	mostWaiting, mostWaitingBytes = 4096, 1 << 20
)

// Answer makes the reply to a request. A body beside an error is the endpoint's own form of the error.
type Answer func(ctx context.Context, r micro.Request) ([]byte, error)

// Server is what a service that answers endpoints needs.
type Server struct {
	Conn *nats.Conn
	Log  *slog.Logger
	// Grace is how long answers may take once the server was told to stop.
	Grace time.Duration
	// Explain says why a request was not carried out. What it returns goes out; anything else belongs into the log.
	Explain func(endpoint Endpoint, err error) *Error
}

// Route is an endpoint and what answers it: for a provider, or for all where that is empty.
type Route struct {
	Endpoint Endpoint
	Provider string
	Answer   Answer
	// Everybody has all processes answer, not one of them.
	Everybody bool
}

// serving lets answers finish when the server stops, and refuses those that come late.
type serving struct {
	Server
	ctx     context.Context
	slots   *share.Share[string]
	bytes   *share.Share[string]
	gate    sync.RWMutex
	stopped bool
}

// Serve answers until ctx ends. All processes with the same route share its requests.
func (s Server) Serve(ctx context.Context, description string, routes []Route) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &serving{
		Server: s, ctx: work, slots: share.New[string](answersAtATime),
		bytes: share.New[string](bytesAtATime),
	}
	service, err := micro.AddService(s.Conn, micro.Config{
		Name: wire.APIService, Version: Version,
		Description: description,
	})
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	for _, route := range routes {
		if err = server.add(service, route); err != nil {
			break
		}
	}
	if err == nil {
		<-ctx.Done()
	}
	stopErr := service.Stop()
	hurry := time.AfterFunc(s.Grace, cancel)
	defer hurry.Stop()
	server.gate.Lock()
	server.stopped = true
	server.gate.Unlock()
	if err == nil && stopErr != nil && s.Conn.IsConnected() {
		s.Log.Warn("could not stop serving the API cleanly", "error", stopErr)
	}
	return err
}

func (s *serving) add(service micro.Service, route Route) error {
	name := strings.ReplaceAll(string(route.Endpoint), ".", "-")
	if route.Provider != "" {
		name += "-" + route.Provider
	}
	subject := route.Endpoint.Subject(route.Provider)
	handler := micro.HandlerFunc(func(r micro.Request) {
		release, ok := s.admit(subject, int64(len(r.Data())))
		if !ok {
			return
		}
		s.gate.RLock()
		// One slow answer must not hold up the next.
		go func() {
			defer func() { s.gate.RUnlock(); release() }()
			s.respond(r, route)
		}()
	})
	opts := []micro.EndpointOpt{
		micro.WithEndpointSubject(subject), micro.WithEndpointPendingLimits(mostWaiting, mostWaitingBytes),
	}
	if route.Everybody {
		opts = append(opts, micro.WithEndpointQueueGroupDisabled())
	}
	if err := service.AddEndpoint(name, handler, opts...); err != nil {
		return fmt.Errorf("serve %s: %w", subject, err)
	}
	return nil
}

// admit waits for room for a request. It returns false when the server has stopped meanwhile.
func (s *serving) admit(subject string, size int64) (release func(), ok bool) {
	size = min(size, MaxRequestBytes) // a larger one is refused unread
	if !s.slots.Wait(s.ctx, subject, 1) {
		return nil, false
	}
	if !s.bytes.Wait(s.ctx, subject, size) {
		s.slots.Give(subject, 1)
		return nil, false
	}
	return func() { s.bytes.Give(subject, size); s.slots.Give(subject, 1) }, true
}

// respond answers one request, whatever happens on the way.
func (s *serving) respond(r micro.Request, route Route) {
	reply, err := s.guarded(r, route.Answer)
	if most := s.Conn.MaxPayload(); err == nil && most > 0 && int64(len(reply)) > most {
		err = &Error{Code: Invalid, Message: "the answer is too large for one message; ask for fewer rows"}
	}
	answer := &nats.Msg{Subject: r.Reply(), Data: reply}
	if err != nil {
		answer, err = refusal(r, s.Explain(route.Endpoint, err), reply)
	}
	if err == nil {
		// The request's own methods note errors, and the service looks at these as soon as the handler has returned,
		// which is before this.
		err = s.Conn.PublishMsg(answer)
	}
	if err != nil {
		s.Log.Warn("could not answer a request", "endpoint", route.Endpoint, "error", err)
	}
}

func (s *serving) guarded(r micro.Request, answer Answer) (reply []byte, err error) {
	if s.stopped {
		return nil, &Error{Code: Unavailable, Message: "this process is stopping; ask again"}
	}
	if len(r.Data()) > MaxRequestBytes {
		return nil, Invalidf("the request has %d bytes, it can have %d at most", len(r.Data()), MaxRequestBytes)
	}
	ctx, cancel := context.WithTimeout(s.ctx, answerWithin)
	defer cancel()
	defer panics.Catch(&err, "the endpoint")
	return answer(ctx, r)
}

// refusal is an error as an answer, with the body that the endpoint has for it or else the error as JSON.
func refusal(r micro.Request, e *Error, body []byte) (*nats.Msg, error) {
	if body == nil {
		var err error
		if body, err = Encode(e); err != nil {
			return nil, err
		}
	}
	header := nats.Header{micro.ErrorHeader: {e.Error()}, micro.ErrorCodeHeader: {string(e.Code)}}
	return &nats.Msg{Subject: r.Reply(), Header: header, Data: body}, nil
}

// Takes makes an answer of a function over a request and a reply in JSON. An empty request is an empty object.
func Takes[Request, Reply any](handle func(context.Context, Request) (Reply, error)) Answer {
	return func(ctx context.Context, r micro.Request) ([]byte, error) {
		var request Request
		if err := decode(r.Data(), &request); err != nil {
			return nil, err
		}
		reply, err := handle(ctx, request)
		if err != nil {
			return nil, err
		}
		return Encode(reply)
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
		return Invalidf("the request is not what this endpoint takes: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Invalidf("something follows the JSON object of the request")
	}
	return nil
}

// Encode leaves < and > as they are: cursors and payloads are shown as they were stored. U+FFFD stands for bytes that
// are not UTF-8, which the payload of a dead item may have. Clients in other languages could not read the reply with
// them.
func Encode(reply any) ([]byte, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(reply); err != nil {
		return nil, fmt.Errorf("encode the reply: %w", err)
	}
	return bytes.ToValidUTF8(bytes.TrimSpace(body.Bytes()), []byte("\ufffd")), nil
}

// Invalidf is an error for a request that is wrong.
func Invalidf(format string, args ...any) error {
	return &Error{Code: Invalid, Message: fmt.Sprintf(format, args...)}
}

// NotFoundf is an error for a request that names what does not exist.
func NotFoundf(format string, args ...any) error {
	return &Error{Code: NotFound, Message: fmt.Sprintf(format, args...)}
}
