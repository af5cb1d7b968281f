package wire

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Packer encodes a batch while its items come, so that no item has to be kept: in protobuf, messages one behind the other are one message. The zero
// value is an empty batch.
type Packer struct {
	body  []byte
	items int
}

// Add puts an item at the end, and gives it its index. Its texts must be UTF-8.
func (p *Packer) Add(item *eventsv1.Item) {
	item.Index = int32(p.items)
	p.items++
	size := sizeNumber(itemIndex, item.GetIndex()) + sizeBytes(itemEventType, len(item.GetEventType())) + sizeBytes(itemExternalID, len(item.GetExternalId())) +
		sizeBytes(itemPayload, len(item.GetPayload())) + sizeBytes(itemCheckpoint, len(item.GetCheckpoint())) + sizeNumber(itemTries, item.GetTries()) +
		sizeNumber(itemHop, item.GetHop()) + sizeNumber(itemDeferrals, item.GetDeferrals())
	b := protowire.AppendVarint(protowire.AppendTag(p.body, batchItems, protowire.BytesType), uint64(size))
	b = appendNumber(b, itemIndex, item.GetIndex())
	b = appendBytes(b, itemEventType, item.GetEventType())
	b = appendBytes(b, itemExternalID, item.GetExternalId())
	b = appendBytes(b, itemPayload, item.GetPayload())
	b = appendBytes(b, itemCheckpoint, item.GetCheckpoint())
	b = appendNumber(b, itemTries, item.GetTries())
	b = appendNumber(b, itemHop, item.GetHop())
	p.body = appendNumber(b, itemDeferrals, item.GetDeferrals())
}

func sizeNumber(field protowire.Number, n int32) int {
	if n == 0 {
		return 0
	}
	return protowire.SizeTag(field) + protowire.SizeVarint(uint64(n))
}

func appendNumber(b []byte, field protowire.Number, n int32) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}

func sizeBytes(field protowire.Number, n int) int {
	if n == 0 {
		return 0
	}
	return protowire.SizeTag(field) + protowire.SizeBytes(n)
}

func appendBytes[T string | []byte](b []byte, field protowire.Number, value T) []byte {
	if len(value) == 0 {
		return b
	}
	return append(protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(len(value))), value...)
}

// Items is how many there are.
func (p *Packer) Items() int { return p.items }

// Message is the batch as it travels; rest is all of it but the items. It shares memory with the packer, until that is reset.
func (p *Packer) Message(subject, id string, rest *eventsv1.ItemBatch) (Message, error) {
	body, err := proto.MarshalOptions{}.MarshalAppend(p.body, rest)
	if err != nil {
		return Message{}, fmt.Errorf("encode a batch: %w", err)
	}
	p.body = body[:len(p.body)]
	return Message{Subject: subject, ID: id, Header: header(events.ContentProtobuf, rest), Body: body}, nil
}

// Reset empties the packer and keeps its memory.
func (p *Packer) Reset() { p.body, p.items = p.body[:0], 0 }

// The fields of work.proto that are written and read here.
const (
	batchItems = 6

	itemIndex      = 1
	itemEventType  = 2
	itemExternalID = 3
	itemPayload    = 4
	itemCheckpoint = 5
	itemTries      = 6
	itemHop        = 7
	itemDeferrals  = 8
)

// ReadBatch decodes a batch. Texts of items may be no UTF-8, as older versions published them: the item-worker finds that. Payloads and checkpoints are not copied: they are parts of body, which must not be changed from then on.
func ReadBatch(body []byte) (*eventsv1.ItemBatch, error) {
	var rest []byte
	items := make([][]byte, 0, 256) // as many as most batches have
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return nil, fmt.Errorf("decode a batch: %w", protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(number, kind, body[n:])
		if size < 0 {
			return nil, fmt.Errorf("decode a batch: %w", protowire.ParseError(size))
		}
		if number == batchItems && kind == protowire.BytesType {
			item, _ := protowire.ConsumeBytes(body[n:])
			items = append(items, item)
		} else {
			rest = append(rest, body[:n+size]...)
		}
		body = body[n+size:]
	}
	batch := &eventsv1.ItemBatch{}
	if err := proto.Unmarshal(rest, batch); err != nil {
		return nil, fmt.Errorf("decode a batch: %w", err)
	}
	decoded := make([]eventsv1.Item, len(items))
	batch.Items = make([]*eventsv1.Item, len(items))
	eventType := ""
	for i, item := range items {
		if err := readItem(item, &decoded[i], &eventType); err != nil {
			return nil, fmt.Errorf("decode item %d of a batch: %w", i, err)
		}
		batch.Items[i] = &decoded[i]
	}
	return batch, nil
}

// readItem decodes an item. eventType is that of the one before, for nearly all of a batch have the same.
func readItem(body []byte, item *eventsv1.Item, eventType *string) error {
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(number, kind, body[n:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		switch kind {
		case protowire.BytesType:
			value, _ := protowire.ConsumeBytes(body[n:])
			setBytes(item, number, slices.Clip(value), eventType)
		case protowire.VarintType:
			value, _ := protowire.ConsumeVarint(body[n:])
			setNumber(item, number, int32(value))
		default: // a field of a later version
		}
		body = body[n+size:]
	}
	return nil
}

func setBytes(item *eventsv1.Item, number protowire.Number, value []byte, eventType *string) {
	switch number {
	case itemEventType, itemExternalID:
		if number == itemExternalID {
			item.ExternalId = string(value)
			return
		}
		if *eventType != string(value) {
			*eventType = string(value)
		}
		item.EventType = *eventType
	case itemPayload:
		item.Payload = value
	case itemCheckpoint:
		item.Checkpoint = value
	default: // a field of a later version
	}
}

func setNumber(item *eventsv1.Item, number protowire.Number, value int32) {
	switch number {
	case itemIndex:
		item.Index = value
	case itemTries:
		item.Tries = value
	case itemHop:
		item.Hop = value
	case itemDeferrals:
		item.Deferrals = value
	default: // a field of a later version
	}
}
