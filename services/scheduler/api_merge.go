package scheduler

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/validate"
)

// merge applies a JSON merge patch (RFC 7396) to an object; numbers keep their spelling. Its errors hold no value.
func merge(what string, stored, patch json.RawMessage) (json.RawMessage, error) {
	target, err := decodeObject(orEmpty(stored))
	if err != nil {
		return nil, invalidf("the stored %s are not a JSON object", what)
	}
	changes, err := decodeObject(patch)
	if err != nil {
		return nil, invalidf("the %s are not a JSON object", what)
	}
	return json.Marshal(mergeObjects(target, changes))
}

func mergeObjects(target, changes map[string]any) map[string]any {
	for name, change := range changes {
		switch change := change.(type) {
		case nil:
			delete(target, name)
		case map[string]any:
			inner, ok := target[name].(map[string]any)
			if !ok {
				inner = map[string]any{}
			}
			target[name] = mergeObjects(inner, change)
		default:
			target[name] = change
		}
	}
	return target
}

func decodeObject(raw json.RawMessage) (map[string]any, error) {
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	if object == nil {
		return nil, errors.New("it is null")
	}
	return object, nil
}

// problemsOf lists what a validator has found. Other errors are returned.
func problemsOf(err error) ([]api.Problem, error) {
	var invalid *validate.Error
	if !errors.As(err, &invalid) {
		return nil, err
	}
	problems := make([]api.Problem, 0, len(invalid.Problems))
	for _, p := range invalid.Problems {
		problems = append(problems, api.Problem{Field: p.Field, Message: p.Message})
	}
	return problems, nil
}
