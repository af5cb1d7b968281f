package items_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/items"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

type order struct {
	Note  string  `json:"note"`
	Total float64 `json:"total"`
}

// called is an event that says its type itself.
type called string

func (c called) EventType() string          { return string(c) }
func (called) MarshalJSON() ([]byte, error) { return []byte("{}"), nil }

// furious panics while it is encoded.
type furious struct{}

func (furious) MarshalJSON() ([]byte, error) { panic("no") }

// TestMake makes all items with one maker, so that nothing of one may be left in the next.
func TestMake(t *testing.T) {
	t.Parallel()
	maker := &items.Maker{}
	for _, tt := range []struct {
		name              string
		event, checkpoint any
		id                string
		want              *eventsv1.Item
		unfit, err        string
	}{
		{
			name: "whole", event: order{Note: strings.Repeat("long", 20), Total: 1.5}, checkpoint: 7, id: "1",
			want: &eventsv1.Item{
				EventType: "items_test.order", ExternalId: "1", Checkpoint: []byte("7"), Payload: []byte(`{"note":"` + strings.Repeat("long", 20) + `","total":1.5}`),
			},
		},
		{name: "shorter, without a checkpoint", event: order{}, want: &eventsv1.Item{EventType: "items_test.order", Payload: []byte(`{"note":"","total":0}`)}},
		{name: "unencodable", event: order{Total: math.NaN()}, id: "1", want: &eventsv1.Item{EventType: "items_test.order", ExternalId: "1"}, unfit: "NaN"},
		{name: "panics", event: furious{}, id: "1", want: &eventsv1.Item{EventType: "items_test.furious", ExternalId: "1"}, unfit: "panicked"},
		{
			name: "garbled id", event: order{}, id: "a\xff\x00",
			want: &eventsv1.Item{EventType: "items_test.order", ExternalId: "a\ufffd\ufffd", Payload: []byte(`{"note":"","total":0}`)}, unfit: "UTF-8",
		},
		{
			name: "long id", event: order{}, id: strings.Repeat("x", 501),
			want: &eventsv1.Item{EventType: "items_test.order", ExternalId: strings.Repeat("x", 480) + "… [cut, 501 bytes]", Payload: []byte(`{"note":"","total":0}`)}, unfit: "has 501 bytes",
		},
		{
			name: "garbled type", event: called("a\xff\x00"), id: "1", want: &eventsv1.Item{EventType: "a\ufffd\ufffd", ExternalId: "1", Payload: []byte("{}")}, unfit: "the event type",
		},
		{
			name: "long type", event: called(strings.Repeat("x", 14<<10)), id: "1",
			want: &eventsv1.Item{EventType: strings.Repeat("x", 178) + "… [cut, 14336 bytes]", ExternalId: "1", Payload: []byte("{}")}, unfit: "200 bytes",
		},
		{name: "longest type", event: called(strings.Repeat("x", 200)), want: &eventsv1.Item{EventType: strings.Repeat("x", 200), Payload: []byte("{}")}},
		{
			name: "garbled checkpoint", event: called("a"), checkpoint: json.RawMessage("\"\xff\""),
			want: &eventsv1.Item{EventType: "a", Checkpoint: []byte("\"\ufffd\""), Payload: []byte("{}")},
		},
		{name: "bad checkpoint", event: order{}, checkpoint: math.Inf(1), id: "1", err: "checkpoint"},
	} {
		item, unfit, err := maker.Make(tt.event, tt.checkpoint, tt.id)
		if !speaksOf(unfit, tt.unfit) || !speaksOf(err, tt.err) || err != nil && !contracts.IsPermanent(err) {
			t.Errorf("%s: unfit %v, error %v, want %q and %q", tt.name, unfit, err, tt.unfit, tt.err)
		}
		if item != nil && errors.Is(unfit, foreign.ErrUnstorable) != (strings.HasPrefix(tt.unfit, "the ") || tt.unfit == "UTF-8" || strings.HasSuffix(tt.unfit, "bytes")) {
			t.Errorf("%s: unfit is %v: it can't be stored, or it can", tt.name, unfit)
		}
		if diff := cmp.Diff(tt.want, item, protocmp.Transform(), protocmp.IgnoreDefaultScalars()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if item != nil {
			item.Index = 99 // as who packs it does
		}
	}
}

func speaksOf(err error, part string) bool {
	if part == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), part)
}
