package providertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// differs says in what an item differs from another one; empty when it does not.
func differs(a, b Item) string {
	switch {
	case a.Event != b.Event:
		return fmt.Sprintf("the type %s against %s", a.Event, b.Event)
	case a.ExternalID != b.ExternalID:
		return fmt.Sprintf("the external id %q against %q", a.ExternalID, b.ExternalID)
	case a.Checkpoint != b.Checkpoint:
		return fmt.Sprintf("the checkpoint %s against %s", orNone(a.Checkpoint), orNone(b.Checkpoint))
	}
	left, isLeft := parsed([]byte(a.Payload))
	right, isRight := parsed([]byte(b.Payload))
	if !isLeft || !isRight {
		return ""
	}
	return valuesDiffer("the event", left, right)
}

// valuesDiffer names the first field in which two JSON values differ.
func valuesDiffer(path string, a, b any) string {
	switch left := a.(type) {
	case map[string]any:
		right, ok := b.(map[string]any)
		if !ok {
			break
		}
		names := slices.AppendSeq(slices.Collect(maps.Keys(left)), maps.Keys(right))
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if d := valuesDiffer(path+"."+name, left[name], right[name]); d != "" {
				return d
			}
		}
		return ""
	case []any:
		right, ok := b.([]any)
		if !ok || len(left) != len(right) {
			break
		}
		for i := range left {
			if d := valuesDiffer(fmt.Sprintf("%s[%d]", path, i), left[i], right[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if left, right := shown(a), shown(b); left != right {
		return fmt.Sprintf("%s: %.80s against %.80s", path, left, right)
	}
	return ""
}

func shown(value any) string {
	raw, err := json.Marshal(value)
	if value == nil || err != nil {
		return "nothing"
	}
	return string(raw)
}

func orNone(text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return "none"
	}
	return text
}

// parsed is a JSON value whose numbers keep their digits.
func parsed(body []byte) (value any, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	return value, decoder.Decode(&value) == nil && !decoder.More()
}

// walk visits a JSON value and all that is in it.
func walk(value any, path []any, visit func(path []any, value any)) {
	visit(path, value)
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			walk(value[name], append(slices.Clone(path), name), visit)
		}
	case []any:
		for i, inner := range value {
			walk(inner, append(slices.Clone(path), i), visit)
		}
	}
}

// at is what a JSON value has at a path.
func at(value any, path []any) any {
	for _, step := range path {
		switch v := value.(type) {
		case map[string]any:
			name, _ := step.(string)
			value = v[name]
		case []any:
			i, ok := step.(int)
			if !ok || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// replaced is a JSON value with another one at a path, which it has.
func replaced(value any, path []any, with any) any {
	if len(path) == 0 {
		return with
	}
	switch v := value.(type) {
	case map[string]any:
		if name, ok := path[0].(string); ok {
			v = maps.Clone(v)
			v[name] = replaced(v[name], path[1:], with)
		}
		return v
	case []any:
		if i, ok := path[0].(int); ok {
			v = slices.Clone(v)
			v[i] = replaced(v[i], path[1:], with)
		}
		return v
	}
	return value
}
