package contracts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Advances is the rule for what is forward: whether the candidate may replace the current cursor. An absent candidate
// (nil or the JSON null) never does, and an absent current one always makes way. Otherwise a [CursorAdvancer] decides;
// for other providers the candidate must differ from the current cursor, and ReduceCheckpoints of the two must equal
// the candidate. Both are compared as JSON values: key order, white space and the spelling of a number don't count, and
// no number is rounded.
//
// The error is that of the reducer, or says that the provider has none or a cursor is not JSON.
func Advances(provider any, current, candidate Cursor) (bool, error) {
	if isAbsent(candidate) {
		return false, nil
	}
	if isAbsent(current) {
		return true, nil
	}
	if p, ok := provider.(CursorAdvancer); ok {
		return p.CursorAdvances(current, candidate), nil
	}
	p, ok := provider.(interface {
		ReduceCheckpoints(checkpoints []Checkpoint) (Cursor, error)
	})
	if !ok {
		return false, fmt.Errorf("%T has no ReduceCheckpoints to tell whether a cursor advances", provider)
	}
	if same, err := sameJSON(current, candidate); err != nil || same {
		return false, err
	}
	reduced, err := p.ReduceCheckpoints([]Checkpoint{Checkpoint(current), Checkpoint(candidate)})
	if err != nil {
		return false, fmt.Errorf("reduce the current cursor and the candidate: %w", err)
	}
	if isAbsent(reduced) {
		return false, nil
	}
	return sameJSON(reduced, candidate)
}

// sameJSON compares two JSON texts as values, numbers exactly.
func sameJSON(a, b []byte) (bool, error) {
	x, err := decodeExactly(a)
	if err != nil {
		return false, err
	}
	y, err := decodeExactly(b)
	if err != nil {
		return false, err
	}
	return sameValue(x, y), nil
}

func sameValue(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && numberKey(string(a)) == numberKey(string(b))
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameValue)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, sameValue)
	default:
		return a == b
	}
}

func decodeExactly(raw []byte) (any, error) {
	// A decoder reads one value and leaves what follows, so that the whole is looked at first.
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%s is not JSON", excerpt(raw))
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("read %s: %w", excerpt(raw), err)
	}
	return value, nil
}
