package contracts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// MaxCheckpointBytes is how large an encoded checkpoint may be: every checkpoint of a batch travels in one bucket
// entry.
const MaxCheckpointBytes = 16 << 10

// ErrCheckpointTooLarge is returned by Dispatch for a checkpoint of more than [MaxCheckpointBytes].
var ErrCheckpointTooLarge = errors.New("checkpoint is larger than 16 KiB")

// Checkpoint is the value that an item stands for in its run, as JSON kept byte for byte: large integers lose nothing
// and 1, "1" and 1.0 stay different. A nil Checkpoint is an absent one.
type Checkpoint json.RawMessage

// Cursor is where the next incremental sync starts, as JSON kept byte for byte. A nil Cursor is an absent one.
type Cursor json.RawMessage

// NewCheckpoint encodes a value as a checkpoint: nil for nil, a copy of a [Checkpoint], [Cursor] or [json.RawMessage]
// with its bytes as they are, but for bytes that are not UTF-8, which become U+FFFD, and the JSON of everything else.
// It returns an error wrapping [ErrCheckpointTooLarge] when the result is too large.
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

// Time reads the cursor as an RFC 3339 timestamp. An absent cursor is an error.
func (c Cursor) Time() (time.Time, error) {
	// A pointer, because null would leave a time as it is.
	var t *time.Time
	if err := json.Unmarshal(c, &t); err != nil || t == nil {
		return time.Time{}, fmt.Errorf("cursor %s is not an RFC 3339 timestamp", excerpt(c))
	}
	return *t, nil
}

// MarshalJSON writes the cursor as the JSON it is, and an absent one as null.
func (c Cursor) MarshalJSON() ([]byte, error) { return orNull(c), nil }

// UnmarshalJSON keeps the JSON as it is; null is an absent cursor.
func (c *Cursor) UnmarshalJSON(raw []byte) error {
	*c = nil
	if !isAbsent(raw) {
		*c = bytes.Clone(raw)
	}
	return nil
}

// Decode decodes the checkpoint into target, like [json.Unmarshal].
func (c Checkpoint) Decode(target any) error { return json.Unmarshal(c, target) }

// MarshalJSON writes the checkpoint as the JSON it is, and an absent one as null.
func (c Checkpoint) MarshalJSON() ([]byte, error) { return orNull(c), nil }

// UnmarshalJSON keeps the JSON as it is; null is an absent checkpoint.
func (c *Checkpoint) UnmarshalJSON(raw []byte) error {
	*c = nil
	if !isAbsent(raw) {
		*c = bytes.Clone(raw)
	}
	return nil
}

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
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	default:
		return json.Marshal(value)
	}
	if len(raw) == 0 {
		return nil, nil
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%s is not JSON", excerpt(raw))
	}
	// Stores take UTF-8 alone; whoever decodes the JSON gets U+FFFD for other bytes in any case.
	if !utf8.Valid(raw) {
		return bytes.ToValidUTF8(raw, []byte("\ufffd")), nil
	}
	// The caller may use its buffer again.
	return bytes.Clone(raw), nil
}

func orNull(raw []byte) []byte {
	if len(raw) == 0 {
		return []byte("null")
	}
	return raw
}

// isAbsent reports whether there is no value: no bytes, or the JSON null.
func isAbsent(raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// excerpt is a value as errors quote it: on one line, without characters that a terminal would obey, and not all of it.
func excerpt(raw []byte) string {
	const most = 64
	quoted := fmt.Sprintf("%#.*q", most, raw)
	if utf8.RuneCount(raw) > most {
		quoted += "…"
	}
	return quoted
}
