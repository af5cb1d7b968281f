package wire_test

import (
	"math"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// wholeBatch has every field set.
func wholeBatch() *eventsv1.ItemBatch {
	return &eventsv1.ItemBatch{
		RunId: "run", Attempt: 2, Batch: 3, IntegrationId: "integration", Provider: "shop", DeadItemId: "dead",
		FirstAt: timestamppb.New(time.Unix(1, 2)), ParkedAt: timestamppb.New(time.Unix(3, 4)),
		Items: []*eventsv1.Item{
			{EventType: "shop.Order", ExternalId: "o1", Payload: []byte(`{"a":1}`), Checkpoint: []byte("7"), Tries: 4, Hop: math.MaxInt32},
			{Index: 1, EventType: "shop.Order", Payload: []byte(`"ü"`), Tries: -1},
			{Index: 2, EventType: "shop.Customer", ExternalId: "ü"},
		},
	}
}

func TestPackedBatchIsReadAsItWas(t *testing.T) {
	t.Parallel()
	want := wholeBatch()
	rest := wholeBatch()
	rest.Items = nil
	var p wire.Packer
	for range 2 {
		for _, item := range wholeBatch().GetItems() {
			item.Index = 99
			p.Add(item)
		}
		if p.Items() != 3 {
			t.Errorf("the packer has %d items, want 3", p.Items())
		}
		m, err := p.Message("subject", "id", rest)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := wire.NewWork("subject", "id", want)
		if err != nil {
			t.Fatal(err)
		}
		plain := &eventsv1.ItemBatch{}
		if err := proto.Unmarshal(m.Body, plain); err != nil {
			t.Fatal(err)
		}
		read, err := wire.ReadBatch(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []*eventsv1.ItemBatch{plain, read} {
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		whole.Body, m.Body = nil, nil
		if diff := cmp.Diff(whole, m); diff != "" {
			t.Errorf("beside the body (-want +got):\n%s", diff)
		}
		p.Reset()
	}
}

// TestReadItemsCannotGrowIntoOneAnother appends to a payload, whose neighbours share its memory.
func TestReadItemsCannotGrowIntoOneAnother(t *testing.T) {
	t.Parallel()
	body, err := proto.Marshal(wholeBatch())
	if err != nil {
		t.Fatal(err)
	}
	batch, err := wire.ReadBatch(body)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(batch.GetItems()[0].GetPayload(), "overwritten"...)
	if diff := cmp.Diff(wholeBatch(), batch, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// isGarbled reports whether a text of an item is no UTF-8, which only the library refuses.
func isGarbled(item *eventsv1.Item) bool {
	return !utf8.ValidString(item.GetEventType()) || !utf8.ValidString(item.GetExternalId())
}

// FuzzReadBatch compares the decoder with that of the library.
func FuzzReadBatch(f *testing.F) {
	body, err := proto.Marshal(wholeBatch())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte{})
	f.Add([]byte("\x32\x02\x12\x00\x32\x04\x1a\x02\xff\xff")) // text that is none
	f.Fuzz(func(t *testing.T, body []byte) {
		want := &eventsv1.ItemBatch{}
		wantErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, want)
		got, err := wire.ReadBatch(body)
		if err == nil && wantErr != nil && slices.ContainsFunc(got.GetItems(), isGarbled) {
			return
		}
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("ReadBatch gives %v, the library %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreUnknown()); diff != "" {
			t.Errorf("(-library +ReadBatch):\n%s", diff)
		}
	})
}
