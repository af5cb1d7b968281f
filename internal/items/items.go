// Package items makes items of what providers hand over: the syncer of what a sync enumerates, the item-worker of what a webhook's handler dispatches.
package items

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// maxExternalID is how long an external id may be, as in the original.
const maxExternalID = 500

// shownID is how many bytes of an external id errors show.
const shownID = 100

// Maker makes one item after the other in the same memory. The zero value is ready.
type Maker struct {
	item    eventsv1.Item
	payload bytes.Buffer
}

// Make makes an item, which is valid until the next is made. unfit says why it can't be worked on, though its provider has done nothing that must stop it: the event
// can't be encoded, or [Check] finds something. err is for the provider.
func (m *Maker) Make(event, checkpoint any, externalID string) (item *eventsv1.Item, unfit, err error) {
	value, err := contracts.NewCheckpoint(checkpoint)
	if err != nil {
		return nil, nil, contracts.Permanent(fmt.Errorf("dispatch %s: %w", contracts.EventType(event), err))
	}
	item = &m.item
	item.Index, item.EventType, item.ExternalId, item.Checkpoint = 0, contracts.EventType(event), externalID, value
	if unfit = encode(&m.payload, event); unfit != nil {
		m.payload.Reset()
	}
	item.Payload = m.payload.Bytes()
	if unstorable := Check(item); unfit == nil {
		unfit = unstorable
	}
	return item, unfit, nil
}

// Check returns an error that wraps [foreign.ErrUnstorable] for an item whose event type or external id has no place in a column, an index or a message. These
// are replaced by texts that have one, so that the item can be written as dead.
func Check(item *eventsv1.Item) error {
	var unfit error
	if eventType := foreign.Word(item.GetEventType()).String(); eventType != item.GetEventType() {
		item.EventType = eventType
		unfit = fmt.Errorf("%w: the event type %q is not at most %d bytes of UTF-8 text without control characters", foreign.ErrUnstorable, eventType, foreign.MaxWord)
	}
	id, flaw := item.GetExternalId(), ""
	switch {
	case !utf8.ValidString(id):
		flaw = "is not UTF-8"
	case strings.ContainsRune(id, 0):
		flaw = "has a NUL character"
	case len(id) > maxExternalID:
		flaw = fmt.Sprintf("has %d bytes, and may have %d", len(id), maxExternalID)
	default:
		return unfit
	}
	item.ExternalId = foreign.Clean(id, maxExternalID).String()
	return fmt.Errorf("%w: the external id %q %s", foreign.ErrUnstorable, foreign.Clean(id, shownID), flaw)
}

// encode writes an event as JSON; an event's own methods may panic.
func encode(into *bytes.Buffer, event any) (err error) {
	into.Reset()
	defer panics.Catch(&err, "encoding")
	if err := json.NewEncoder(into).Encode(event); err != nil {
		return err
	}
	// The encoder ends with a line feed.
	into.Truncate(into.Len() - 1)
	return nil
}
