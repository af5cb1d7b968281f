package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/validate"
)

// merge applies a JSON merge patch (RFC 7396) to an object; numbers keep their spelling. Its errors hold no value.
func merge(what string, stored, patch json.RawMessage) (json.RawMessage, error) {
	target, err := decodeObject(orEmpty(stored))
	if err != nil {
		return nil, api.Invalidf("the stored %s are not a JSON object", what)
	}
	changes, err := decodeObject(patch)
	if err != nil {
		return nil, api.Invalidf("the %s are not a JSON object", what)
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

// checkStorable refuses objects with fields that Postgres can't store as they are given. It names the fields, because
// the operator can correct them. What is not JSON is refused by the validator.
func checkStorable(objects map[string]json.RawMessage) error {
	var problems []api.Problem
	for _, what := range slices.Sorted(maps.Keys(objects)) {
		if len(objects[what]) > 0 {
			problems = append(problems, unstorable(what, objects[what])...)
		}
	}
	if len(problems) > 0 {
		return &api.Error{Code: api.Invalid, Message: "this can't be stored:", Problems: problems}
	}
	return nil
}

// unstorable names the innermost fields that can't be stored. The problems hold no values.
func unstorable(path string, raw json.RawMessage) []api.Problem {
	document, err := foreign.ParseJSON(raw)
	if !json.Valid(raw) || err == nil && bytes.Equal(document, raw) {
		return nil
	}
	var fields map[string]json.RawMessage
	var problems []api.Problem
	if json.Unmarshal(raw, &fields) == nil {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			problems = append(problems, unstorable(path+"."+foreign.Word(name).String(), fields[name])...)
		}
	}
	switch {
	case len(problems) > 0:
		return problems
	case err != nil:
		return []api.Problem{{Field: path, Message: "has a number or a depth that can't be stored"}}
	}
	return []api.Problem{
		{
			Field:   path,
			Message: `has a zero byte (\u0000), half of a surrogate pair (as \ud83d alone) or a byte that is not UTF-8`,
		},
	}
}
