package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// ErrCommand is what every error of [DecodeCommand] wraps; the text says what to write instead.
var ErrCommand = errors.New("bad command")

// commandJSON is the JSON form of a command, in which a cursor is written as itself and not as a string that holds JSON.
type commandJSON struct {
	Mode        string          `json:"mode"`
	Item        string          `json:"item"`
	All         bool            `json:"all"`
	Reason      string          `json:"reason"`
	By          string          `json:"by"`
	To          json.RawMessage `json:"to"`
	None        bool            `json:"none"`
	Cancel      bool            `json:"cancel"`
	Integration string          `json:"integration"`
	Webhook     string          `json:"webhook"`
	Failed      bool            `json:"failed"`
	Since       string          `json:"since"`
	Until       string          `json:"until"`
}

// DecodeCommand reads the body of a command: empty, JSON, or protobuf when the Content-Type says so. It checks what can be known without looking
// anything up, and returns an error wrapping [ErrCommand].
func DecodeCommand(verb Verb, contentType string, body []byte) (*eventsv1.Command, error) {
	command := &eventsv1.Command{}
	switch {
	case isProtobuf(contentType):
		if err := proto.Unmarshal(body, command); err != nil {
			return nil, fmt.Errorf("%w: the body is not a protobuf tributary.events.v1.Command", ErrCommand)
		}
		if len(command.ProtoReflect().GetUnknown()) > 0 {
			return nil, fmt.Errorf("%w: the body has fields that this version doesn't know", ErrCommand)
		}
	case len(bytes.TrimSpace(body)) > 0:
		if err := decodeCommandJSON(body, command); err != nil {
			return nil, err
		}
	}
	if command.To != nil && strings.TrimSpace(command.GetTo()) == "null" {
		command.To, command.None = nil, true
	}
	if err := checkCommand(verb, command); err != nil {
		return nil, err
	}
	return command, nil
}

func isProtobuf(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), ContentProtobuf)
}

func decodeCommandJSON(body []byte, command *eventsv1.Command) error {
	// Anything but an object decodes into the struct with an error, except for null.
	if string(bytes.TrimSpace(body)) == "null" {
		return fmt.Errorf("%w: the body is null; leave it empty, or write a JSON object", ErrCommand)
	}
	// The decoder would put other characters in the place of what is broken.
	if !utf8.Valid(body) {
		return fmt.Errorf("%w: the body is not valid UTF-8", ErrCommand)
	}
	var c commandJSON
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return fmt.Errorf("%w: the body is not the JSON object of a command: %w", ErrCommand, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the JSON object", ErrCommand)
	}
	command.Mode, command.Item, command.All = c.Mode, c.Item, c.All
	command.Reason, command.By, command.None, command.Cancel = c.Reason, c.By, c.None, c.Cancel
	command.Integration = c.Integration
	command.Webhook, command.Failed, command.Since, command.Until = c.Webhook, c.Failed, c.Since, c.Until
	if c.To != nil {
		to := string(c.To)
		command.To = &to
	}
	return nil
}

func checkCommand(verb Verb, c *eventsv1.Command) error {
	if !slices.Contains(Verbs(), verb) {
		return fmt.Errorf("%w: unknown verb %q, the verbs are %s", ErrCommand, verb, joinVerbs())
	}
	if err := checkTexts(c); err != nil {
		return err
	}
	if c.Mode != "" && verb != VerbSync {
		return fmt.Errorf("%w: mode belongs to sync", ErrCommand)
	}
	if (c.To != nil || c.None || c.Cancel) && verb != VerbResetCursor {
		return fmt.Errorf("%w: to, none and cancel belong to reset-cursor", ErrCommand)
	}
	if c.All && verb != VerbRetry {
		return fmt.Errorf("%w: all belongs to retry", ErrCommand)
	}
	if c.Item != "" && verb != VerbRetry && verb != VerbSkip {
		return fmt.Errorf("%w: item belongs to retry and skip", ErrCommand)
	}
	if c.Webhook != "" && verb != VerbReplay && verb != VerbSkip {
		return fmt.Errorf("%w: webhook belongs to replay and skip", ErrCommand)
	}
	if (c.Failed || c.Until != "") && verb != VerbReplay {
		return fmt.Errorf("%w: failed and until belong to replay", ErrCommand)
	}
	if c.Since != "" && verb != VerbReplay && verb != VerbRecover {
		return fmt.Errorf("%w: since belongs to replay and recover", ErrCommand)
	}
	for name, text := range map[string]string{"since": c.GetSince(), "until": c.GetUntil()} {
		if _, err := time.Parse(time.RFC3339, text); text != "" && err != nil {
			return fmt.Errorf(`%w: %s is not a time such as "2026-01-31T00:00:00Z"`, ErrCommand, name)
		}
	}
	return checkNeeds(verb, c)
}

// checkTexts refuses what Postgres can't store in a text: a command that had it would fail for ever.
func checkTexts(c *eventsv1.Command) error {
	for _, text := range []struct{ field, value string }{
		{"mode", c.GetMode()},
		{"item", c.GetItem()},
		{"reason", c.GetReason()},
		{"by", c.GetBy()},
		{"to", c.GetTo()},
		{"integration", c.GetIntegration()},
		{"webhook", c.GetWebhook()},
		{"since", c.GetSince()},
		{"until", c.GetUntil()},
	} {
		if !utf8.ValidString(text.value) {
			return fmt.Errorf("%w: %s is not valid UTF-8", ErrCommand, text.field)
		}
		if strings.ContainsRune(text.value, 0) {
			return fmt.Errorf("%w: %s holds a NUL character", ErrCommand, text.field)
		}
	}
	return nil
}

func checkNeeds(verb Verb, c *eventsv1.Command) error {
	switch verb {
	case VerbSync:
		if c.Mode != "" && c.Mode != "full" && c.Mode != "incremental" {
			return fmt.Errorf(`%w: mode is %q, it can be "full" or "incremental"`, ErrCommand, c.Mode)
		}
	case VerbRetry:
		if (c.Item == "") == !c.All {
			return fmt.Errorf(`%w: retry needs either {"item":"<id>"} or {"all":true}`, ErrCommand)
		}
	case VerbSkip:
		if (c.Item == "") == (c.Webhook == "") || strings.TrimSpace(c.Reason) == "" || strings.TrimSpace(c.By) == "" {
			return fmt.Errorf(`%w: skip needs {"item":"<id>","reason":"<why>","by":"<who>"}, or "webhook" in the place of "item"`, ErrCommand)
		}
	case VerbResetCursor:
		if (c.To == nil) == !c.None {
			return fmt.Errorf(`%w: reset-cursor needs {"to":<JSON>}, or {"to":null} for no cursor`, ErrCommand)
		}
		if c.To != nil && !json.Valid([]byte(c.GetTo())) {
			return fmt.Errorf("%w: to is not JSON", ErrCommand)
		}
	case VerbReplay:
		if (c.Webhook == "") == (!c.Failed && c.Since == "" && c.Until == "") {
			return fmt.Errorf(`%w: replay needs {"webhook":"<id>"}, {"failed":true}, or {"since":"<time>"} with or without until and failed`, ErrCommand)
		}
	case VerbRecover:
		if c.Since == "" {
			return fmt.Errorf(`%w: recover needs {"since":"<time>"}`, ErrCommand)
		}
	case VerbCancel, VerbPause, VerbResume, VerbEnable:
	}
	return nil
}

func joinVerbs() string {
	names := make([]string, 0, len(Verbs()))
	for _, v := range Verbs() {
		names = append(names, string(v))
	}
	return strings.Join(names, ", ")
}
