package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Command has a command carried out and returns what came of it. A rejection is an [*Error].
func (c *Client) Command(ctx context.Context, verb events.Verb, command *eventsv1.Command) (*eventsv1.CommandReply, error) {
	body, err := encodeCommand(command)
	if err != nil {
		return nil, err
	}
	answer, err := c.request(ctx, CommandEndpoint(verb), "", body)
	if err != nil {
		return nil, err
	}
	reply := &eventsv1.CommandReply{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(answer, reply); err != nil {
		return nil, fmt.Errorf("read the reply of %s: %w", CommandEndpoint(verb), err)
	}
	return reply, nil
}

// encodeCommand writes a command as JSON, with its cursor as itself.
func encodeCommand(command *eventsv1.Command) ([]byte, error) {
	fields := map[string]any{}
	set := func(name, value string) {
		if value != "" {
			fields[name] = value
		}
	}
	set("integration", command.GetIntegration())
	set("mode", command.GetMode())
	set("item", command.GetItem())
	set("reason", command.GetReason())
	set("by", command.GetBy())
	set("webhook", command.GetWebhook())
	set("since", command.GetSince())
	set("until", command.GetUntil())
	for name, on := range map[string]bool{"failed": command.GetFailed(), "all": command.GetAll(), "none": command.GetNone(), "cancel": command.GetCancel()} {
		if on {
			fields[name] = true
		}
	}
	if command.To != nil {
		if !json.Valid([]byte(command.GetTo())) {
			return nil, &Error{Code: Invalid, Message: "the cursor is not JSON"}
		}
		fields["to"] = json.RawMessage(bytes.TrimSpace([]byte(command.GetTo())))
	}
	return json.Marshal(fields)
}
