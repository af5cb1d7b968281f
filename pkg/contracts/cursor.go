package contracts

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxCheckpointBytes is how large an encoded checkpoint may be: every checkpoint of a batch travels in one bucket entry.
const MaxCheckpointBytes = 16 << 10

// ErrCheckpointTooLarge is returned by Dispatch for a checkpoint of more than [MaxCheckpointBytes].
var ErrCheckpointTooLarge = errors.New("checkpoint is larger than 16 KiB")

// Checkpoint is the value that an item stands for in its run, as JSON kept byte for byte: large integers lose nothing and 1, "1" and
// 1.0 stay different. A nil Checkpoint is an absent one.
type Checkpoint json.RawMessage

// Cursor is where the next incremental sync starts, as JSON kept byte for byte. A nil Cursor is an absent one.
type Cursor json.RawMessage

// NewCheckpoint encodes a value as a checkpoint. It returns nil for nil, a [Checkpoint], [Cursor] or [json.RawMessage] as it is, and the JSON of
// everything else. It returns an error wrapping [ErrCheckpointTooLarge] when the result is too large.
func NewCheckpoint(value any) (Checkpoint, error) {
	raw, err := rawJSON(value)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint: %w", err)
	}
	if len(raw) > MaxCheckpointBytes {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrCheckpointTooLarge, len(raw))
	}
	return Checkpoint(raw), nil
}

// NewCursor encodes a value as a cursor, by the rules of [NewCheckpoint] but without its limit.
func NewCursor(value any) (Cursor, error) {
	raw, err := rawJSON(value)
	if err != nil {
		return nil, fmt.Errorf("encode cursor: %w", err)
	}
	return Cursor(raw), nil
}

// Decode decodes the cursor into target, like [json.Unmarshal].
func (c Cursor) Decode(target any) error { return json.Unmarshal(c, target) }

// Time reads the cursor as an RFC 3339 timestamp.
func (c Cursor) Time() (time.Time, error) {
	var t time.Time
	if err := json.Unmarshal(c, &t); err != nil {
		return time.Time{}, fmt.Errorf("cursor %s is not an RFC 3339 timestamp: %w", []byte(c), err)
	}
	return t, nil
}

// Decode decodes the checkpoint into target, like [json.Unmarshal].
func (c Checkpoint) Decode(target any) error { return json.Unmarshal(c, target) }

func rawJSON(value any) (json.RawMessage, error) {
	var raw json.RawMessage
	switch v := value.(type) {
	case nil:
		return nil, nil
	case Checkpoint:
		raw = json.RawMessage(v)
	case Cursor:
		raw = json.RawMessage(v)
	case json.RawMessage:
		raw = v
	default:
		return json.Marshal(value)
	}
	if len(raw) > 0 && !json.Valid(raw) {
		return nil, fmt.Errorf("%q is not JSON", raw)
	}
	return raw, nil
}
