package scheduler

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
)

// checkStorable names the fields of objects, by the names of these, that can't be stored as they are given. What would have to be changed is refused, because
// an operator can correct it. What is no JSON is for the validator to refuse.
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
	return []api.Problem{{Field: path, Message: `has a zero byte (\u0000), half of a surrogate pair (as \ud83d alone) or a byte that is not UTF-8`}}
}
