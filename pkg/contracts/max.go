package contracts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// MaxTime is embedded by a [ScheduledSync] whose checkpoints are RFC 3339 timestamps: the latest instant becomes the
// cursor. Offsets and precision may differ from one to the next, and fractions of any length count.
//
// Like [MaxString] and [MaxNumber] it returns one of the checkpoints byte for byte, passes over absent ones (nil and
// the JSON null), and returns no cursor when all are absent. Of equal values that are spelled differently the one with
// the greater bytes is taken, so that order and grouping never matter. A value of another kind is an error that names
// its position.
//
// A provider that embeds one of them takes all of its methods, or declares each of ReduceCheckpoints,
// ReducesAssociatively and CheckpointKey itself. A mixture is refused at start-up, because the methods of one type say
// nothing about those of another.
type MaxTime struct{}

// ReduceCheckpoints returns the latest instant.
func (m MaxTime) ReduceCheckpoints(checkpoints []Checkpoint) (Cursor, error) {
	return greatest(checkpoints, m.CheckpointKey)
}

// ReducesAssociatively marks the reducer: see [AssociativeReducer].
func (MaxTime) ReducesAssociatively() {}

// CheckpointKey is the instant as the seconds since the year −1 in 12 digits and the digits of its fraction: see
// [CheckpointOrderer]. An absent checkpoint has the empty key.
func (MaxTime) CheckpointKey(c Checkpoint) (string, error) {
	if isAbsent(c) {
		return "", nil
	}
	text, err := textOf(c)
	seconds, fraction, ok := parseInstant(text)
	if err != nil || !ok {
		return "", fmt.Errorf("%s is not an RFC 3339 timestamp", excerpt(c))
	}
	return fmt.Sprintf("%012d%s", seconds, fraction), nil
}

// maxAhead is how far in the future a checkpoint of [MaxTime] may be: a day and an hour, for clocks that show another
// zone's time as UTC.
const maxAhead = 25 * time.Hour

// CheckCheckpoint refuses what is no RFC 3339 timestamp, and what is more than 25 hours ahead of now: as the cursor it
// would hide all that changes before then. See [CheckpointChecker].
func (MaxTime) CheckCheckpoint(c Checkpoint, now time.Time) error {
	if isAbsent(c) {
		return nil
	}
	text, err := textOf(c)
	seconds, _, ok := parseInstant(text)
	switch {
	case err != nil || !ok:
		return fmt.Errorf("%s is not an RFC 3339 timestamp", excerpt(c))
	case seconds+startOfTime > now.Add(maxAhead).Unix():
		return fmt.Errorf("%s is more than %s in the future", excerpt(c), maxAhead)
	}
	return nil
}

// CursorAt is the time in RFC 3339: see [CursorDater].
func (MaxTime) CursorAt(t time.Time) (Cursor, error) {
	return Cursor(t.UTC().Format(`"` + time.RFC3339Nano + `"`)), nil
}

// MaxString is embedded by a [ScheduledSync] whose checkpoints are strings that grow as text does, byte by byte: ids
// such as ULIDs, "2024-01-31". Note that "9" is greater than "10": numbers in strings are not ordered as text.
// [MaxTime] says the rest.
type MaxString struct{}

// ReduceCheckpoints returns the greatest text.
func (m MaxString) ReduceCheckpoints(checkpoints []Checkpoint) (Cursor, error) {
	return greatest(checkpoints, m.CheckpointKey)
}

// ReducesAssociatively marks the reducer: see [AssociativeReducer].
func (MaxString) ReducesAssociatively() {}

// CheckpointKey is the text itself: see [CheckpointOrderer]. An absent checkpoint has the empty key.
func (MaxString) CheckpointKey(c Checkpoint) (string, error) {
	if isAbsent(c) {
		return "", nil
	}
	text, err := textOf(c)
	if err != nil {
		return "", fmt.Errorf("%s is not a string", excerpt(c))
	}
	return text, nil
}

// textOf decodes a JSON string. Keys are made of every checkpoint of every run, and nearly all are plain text between
// quotes.
func textOf(c Checkpoint) (text string, err error) {
	if n := len(c); n >= 2 && c[0] == '"' && c[n-1] == '"' && isPlain(c[1:n-1]) {
		return string(c[1 : n-1]), nil
	}
	err = json.Unmarshal(c, &text)
	return text, err
}

// isPlain reports whether text stands in JSON as it is.
func isPlain(text []byte) bool {
	for _, b := range text {
		if b < ' ' || b > '~' || b == '"' || b == '\\' {
			return false
		}
	}
	return true
}

// MaxNumber is embedded by a [ScheduledSync] whose checkpoints are JSON numbers: ids, sequence numbers, Unix times.
// They are compared exactly, whatever their size, and never become floats. [MaxTime] says the rest.
type MaxNumber struct{}

// ReduceCheckpoints returns the greatest number.
func (m MaxNumber) ReduceCheckpoints(checkpoints []Checkpoint) (Cursor, error) {
	if best, ok := greatestInteger(checkpoints); ok {
		return best, nil
	}
	return greatest(checkpoints, m.CheckpointKey)
}

// ReducesAssociatively marks the reducer: see [AssociativeReducer].
func (MaxNumber) ReducesAssociatively() {}

// CheckpointKey is the number in a form of which greater ones compare greater byte by byte, and equal ones (1, 1.0,
// 10e-1) equal: see [CheckpointOrderer]. An absent checkpoint has the empty key.
func (MaxNumber) CheckpointKey(c Checkpoint) (string, error) {
	if isAbsent(c) {
		return "", nil
	}
	number := bytes.TrimSpace(c)
	if number[0] != '-' && (number[0] < '0' || number[0] > '9') || !json.Valid(c) {
		return "", fmt.Errorf("%s is not a number", excerpt(c))
	}
	return numberKey(string(number)), nil
}

// greatestInteger is greatest for integers without a sign, which need no keys: the longer is the greater. ok is false
// when there is anything else.
func greatestInteger(checkpoints []Checkpoint) (best Cursor, ok bool) {
	for _, c := range checkpoints {
		if len(c) == 0 {
			continue
		}
		for _, b := range c {
			if b < '0' || b > '9' {
				return nil, false
			}
		}
		if c[0] == '0' && len(c) > 1 {
			return nil, false
		}
		if len(c) > len(best) || len(c) == len(best) && string(c) > string(best) {
			best = Cursor(c)
		}
	}
	return best, true
}

// greatest returns the checkpoint with the greatest key; of equal keys, the greatest bytes.
func greatest(checkpoints []Checkpoint, keyOf func(Checkpoint) (string, error)) (Cursor, error) {
	var best Checkpoint
	var bestKey string
	for i, c := range checkpoints {
		if isAbsent(c) {
			continue
		}
		key, err := keyOf(c)
		if err != nil {
			return nil, fmt.Errorf("checkpoint %d of %d: %w", i+1, len(checkpoints), err)
		}
		if best == nil || key > bestKey || key == bestKey && string(c) > string(best) {
			best, bestKey = c, key
		}
	}
	return Cursor(best), nil
}
