package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Message is a message on its way: to the broker, or to the outbox first.
type Message struct {
	Subject string
	// ID never repeats for different work: the broker drops a repeated id inside its window.
	ID     string
	Header map[string]string
	Body   []byte
}

// NewWork is a private message between services, in binary protobuf.
func NewWork(subject, id string, m proto.Message) (Message, error) {
	body, err := proto.Marshal(m)
	if err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return Message{Subject: subject, ID: id, Header: header(events.ContentProtobuf, m), Body: body}, nil
}

// NewEvent is a public event, in protobuf's JSON. An empty id is replaced by that of its outbox row.
func NewEvent(name events.Name, provider, integration, id string, m proto.Message) (Message, error) {
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return Message{}, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return Message{
		Subject: events.EventSubject(name, provider, integration), ID: id,
		Header: header(events.ContentJSON, m), Body: body,
	}, nil
}

func header(contentType string, m proto.Message) map[string]string {
	return map[string]string{
		events.HeaderContentType: contentType,
		events.HeaderSchema:      string(m.ProtoReflect().Descriptor().FullName()),
	}
}

// NewRef names the integration that an event is about.
func NewRef(id, provider, name, owner string) *eventsv1.Ref {
	return &eventsv1.Ref{IntegrationId: id, Provider: provider, Name: name, Owner: owner}
}
