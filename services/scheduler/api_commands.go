package scheduler

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// commandAnswer carries a command out as if it came from the stream, and replies what came of it in the form that the request had. A message
// id makes it safe to ask twice.
func (s *Scheduler) commandAnswer(verb events.Verb) api.Answer {
	return func(ctx context.Context, r micro.Request) ([]byte, error) {
		contentType := r.Headers().Get(events.HeaderContentType)
		command, err := events.DecodeCommand(verb, contentType, r.Data())
		if err != nil {
			return nil, err
		}
		integration, err := s.lookup(ctx, command.GetIntegration())
		if err != nil {
			return nil, err
		}
		id := r.Headers().Get(nats.MsgIdHdr)
		if id != "" {
			id = "api/" + id
		}
		result, runID, err := s.command(ctx, verb, integration.ID.String(), command, id)
		if err != nil {
			s.Metrics.command(string(verb), "rejected")
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

// lookup finds an integration by id or by name.
func (s *Scheduler) lookup(ctx context.Context, name string) (*postgres.Integration, error) {
	if name == "" {
		return nil, invalidf(`say which integration: {"integration":"<id or name>"}`)
	}
	missing := notFoundf("there is no integration with the id or name %q", name)
	if !events.ValidToken(name) {
		return nil, missing
	}
	integration, err := s.Store.IntegrationNamed(ctx, name)
	if postgres.NotFound(err) {
		return nil, missing
	}
	if err != nil {
		return nil, fmt.Errorf("look up integration %q: %w", name, err)
	}
	return integration, nil
}

// lookupID is lookup for a filter: an empty name means all.
func (s *Scheduler) lookupID(ctx context.Context, name string) (*uuid.UUID, error) {
	if name == "" {
		return nil, nil
	}
	integration, err := s.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	return &integration.ID, nil
}

// pageSize is how many rows a page has, one more of which are read to know whether there is a next one.
func pageSize(limit int) (int, error) {
	switch {
	case limit == 0:
		return api.DefaultPage, nil
	case limit < 0 || limit > api.MaxPage:
		return 0, invalidf("limit is %d, it can be 1 to %d", limit, api.MaxPage)
	default:
		return limit, nil
	}
}

// parseBefore reads where a page goes on.
func parseBefore(before string) (*uuid.UUID, error) {
	if before == "" {
		return nil, nil
	}
	id, err := uuid.Parse(before)
	if err != nil {
		return nil, invalidf(`before is not the "next" of a page`)
	}
	return &id, nil
}
