package events_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func TestDecodeCommand(t *testing.T) {
	const json, binary = events.ContentJSON, events.ContentProtobuf
	encode := func(c *eventsv1.Command) string {
		data, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	tests := []struct {
		name        string
		verb        events.Verb
		contentType string
		body        string
		want        *eventsv1.Command
		refused     string
	}{
		{"empty sync", events.VerbSync, "", "", &eventsv1.Command{}, ""},
		{"blank sync", events.VerbSync, "", " \n\t", &eventsv1.Command{}, ""},
		{"empty object", events.VerbPause, "", "{}", &eventsv1.Command{}, ""},
		{"empty protobuf", events.VerbResume, binary, "", &eventsv1.Command{}, ""},
		{"full sync", events.VerbSync, json, `{"mode":"full"}`, &eventsv1.Command{Mode: "full"}, ""},
		{"full sync in protobuf", events.VerbSync, binary, encode(&eventsv1.Command{Mode: "full"}), &eventsv1.Command{Mode: "full"}, ""},
		{"content type with a parameter", events.VerbSync, "Application/X-Protobuf; v=1", encode(&eventsv1.Command{Mode: "full"}), &eventsv1.Command{Mode: "full"}, ""},
		{"JSON without a content type", events.VerbSync, "", `{"mode":"incremental"}`, &eventsv1.Command{Mode: "incremental"}, ""},
		{"JSON as some other type", events.VerbSync, "text/plain", `{"mode":"full"}`, &eventsv1.Command{Mode: "full"}, ""},
		{"odd mode", events.VerbSync, "", `{"mode":"fast"}`, nil, `"full" or "incremental"`},
		{"mode of a pause", events.VerbPause, "", `{"mode":"full"}`, nil, "mode belongs to sync"},
		{"retry one", events.VerbRetry, "", `{"item":"x"}`, &eventsv1.Command{Item: "x"}, ""},
		{"retry all", events.VerbRetry, "", `{"all":true}`, &eventsv1.Command{All: true}, ""},
		{"retry nothing", events.VerbRetry, "", ``, nil, `{"all":true}`},
		{"retry one and all", events.VerbRetry, "", `{"item":"x","all":true}`, nil, "either"},
		{"skip", events.VerbSkip, "", `{"item":"x","reason":"known","by":"ann"}`, &eventsv1.Command{Item: "x", Reason: "known", By: "ann"}, ""},
		{"skip by nobody", events.VerbSkip, "", `{"item":"x","reason":"known","by":" "}`, nil, "skip needs"},
		{"skip without reason", events.VerbSkip, "", `{"item":"x","by":"ann"}`, nil, "skip needs"},
		{"skip all", events.VerbSkip, "", `{"all":true}`, nil, "all belongs to retry"},
		{"sync an item", events.VerbSync, "", `{"item":"x"}`, nil, "item belongs"},
		{"cancel", events.VerbCancel, "", "", &eventsv1.Command{}, ""},
		{"cancel to a cursor", events.VerbCancel, "", `{"to":1}`, nil, "belong to reset-cursor"},
		{"reset to an object", events.VerbResetCursor, "", `{"to":{"page":[1, 2]}}`, &eventsv1.Command{To: new(`{"page":[1, 2]}`)}, ""},
		{"reset to a string", events.VerbResetCursor, "", `{"to":"2026-01-01"}`, &eventsv1.Command{To: new(`"2026-01-01"`)}, ""},
		{"reset to a large number", events.VerbResetCursor, "", `{"to":12345678901234567890}`, &eventsv1.Command{To: new("12345678901234567890")}, ""},
		{"reset to null", events.VerbResetCursor, "", `{"to":null}`, &eventsv1.Command{None: true}, ""},
		{"reset to null in capitals", events.VerbResetCursor, "", `{"TO": null }`, &eventsv1.Command{None: true}, ""},
		{"reset to none", events.VerbResetCursor, "", `{"none":true,"cancel":true}`, &eventsv1.Command{None: true, Cancel: true}, ""},
		{"reset to null in protobuf", events.VerbResetCursor, binary, encode(&eventsv1.Command{To: new(" null ")}), &eventsv1.Command{None: true}, ""},
		{"reset in protobuf", events.VerbResetCursor, binary, encode(&eventsv1.Command{To: new(`{"a":1}`)}), &eventsv1.Command{To: new(`{"a":1}`)}, ""},
		{"reset in protobuf to what is not JSON", events.VerbResetCursor, binary, encode(&eventsv1.Command{To: new(`2026-01-01`)}), nil, "to is not JSON"},
		{"reset to a string of broken UTF-8", events.VerbResetCursor, "", "{\"to\":\"\xff\"}", nil, "not valid UTF-8"},
		{"reset to nothing said", events.VerbResetCursor, "", `{}`, nil, "reset-cursor needs"},
		{"reset to a value and none", events.VerbResetCursor, "", `{"to":1,"none":true}`, nil, "reset-cursor needs"},
		{"unknown verb", "explode", "", "", nil, "the verbs are sync, cancel"},
		{"unknown field", events.VerbSync, "", `{"mod":"full"}`, nil, `unknown field "mod"`},
		{"unknown field in protobuf", events.VerbSync, binary, string(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)), nil, "doesn't know"},
		{"JSON said to be protobuf", events.VerbSync, binary, `{"mode":"full"}`, nil, "not a protobuf"},
		{"protobuf not said to be", events.VerbSync, "", encode(&eventsv1.Command{Mode: "full"}), nil, "JSON object"},
		{"an array", events.VerbSync, "", `[]`, nil, "JSON object"},
		{"null", events.VerbSync, "", `null`, nil, "null"},
		{"a word", events.VerbSync, "", `full`, nil, "JSON object"},
		{"cut short", events.VerbSync, "", `{"mode":`, nil, "JSON object"},
		{"two objects", events.VerbSync, "", `{} {}`, nil, "something follows"},
		{"wrong type", events.VerbRetry, "", `{"all":"yes"}`, nil, "JSON object"},
		{"a NUL that no database stores", events.VerbSkip, "", `{"item":"x","reason":"a\u0000b","by":"ann"}`, nil, "reason holds a NUL"},
		{"a NUL in mode", events.VerbSync, "", `{"mode":"full\u0000"}`, nil, "mode holds a NUL"},
		{"a NUL in item", events.VerbRetry, "", `{"item":"\u0000"}`, nil, "item holds a NUL"},
		{"a NUL in by", events.VerbPause, "", `{"by":"\u0000ann"}`, nil, "by holds a NUL"},
		{"a NUL in integration", events.VerbSync, "", `{"integration":"a\u0000"}`, nil, "integration holds a NUL"},
		{"a NUL in protobuf", events.VerbPause, binary, encode(&eventsv1.Command{Reason: "a\x00"}), nil, "reason holds a NUL"},
		{"a NUL in to", events.VerbResetCursor, binary, encode(&eventsv1.Command{To: new("1\x00")}), nil, "to holds a NUL"},
		{"broken UTF-8 in JSON", events.VerbPause, "", "{\"reason\":\"\xff\"}", nil, "not valid UTF-8"},
		{"broken UTF-8 in protobuf", events.VerbPause, binary, string(protowire.AppendString(protowire.AppendTag(nil, 4, protowire.BytesType), "\xff")), nil, "protobuf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := events.DecodeCommand(tt.verb, tt.contentType, []byte(tt.body))
			if tt.refused != "" {
				if !errors.Is(err, events.ErrCommand) || !strings.Contains(err.Error(), tt.refused) {
					t.Fatalf("error is %v, want one of ErrCommand that says %q", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzDecodeCommand(f *testing.F) {
	f.Add("sync", "", []byte(`{"mode":"full"}`))
	f.Add("reset-cursor", events.ContentProtobuf, []byte("\x32\x04null"))
	f.Add("reset-cursor", "", []byte(`{"to":null}`))
	f.Add("reset-cursor", "", []byte("{\"to\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, verb, contentType string, body []byte) {
		command, err := events.DecodeCommand(events.Verb(verb), contentType, body)
		if err != nil {
			if !errors.Is(err, events.ErrCommand) {
				t.Errorf("error %v is not of ErrCommand", err)
			}
			return
		}
		again, err := proto.Marshal(command)
		if err != nil {
			t.Fatalf("what was decoded can't be encoded: %v", err)
		}
		same, err := events.DecodeCommand(events.Verb(verb), events.ContentProtobuf, again)
		if err != nil {
			t.Fatalf("%v is refused when it comes again: %v", command, err)
		}
		if diff := cmp.Diff(command, same, protocmp.Transform()); diff != "" {
			t.Errorf("the same command in protobuf (-first +second):\n%s", diff)
		}
	})
}
