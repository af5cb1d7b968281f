// Package validate says whether the credentials and metadata of an integration are what its provider asks for: a JSON object that fits the
// provider's typed data and keeps its rules. Every write path uses it (CLI, API, OAuth callback), so nothing invalid is stored.
//
// Its errors name fields and say what to do, and never contain a value: credentials are secrets.
package validate

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/go-playground/validator/v10"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Validator validates by the rules of providers. It is safe for concurrent use.
type Validator struct {
	rules *validator.Validate
}

// New returns a validator. It caches the tags it has parsed, so keep it.
func New() *Validator {
	return &Validator{rules: validator.New(validator.WithRequiredStructEnabled())}
}

// Credentials says whether raw is valid as credentials of the provider. Nil and empty count as an empty object. The
// error is an [*Error], unless the provider's code panics or does not return.
func (v *Validator) Credentials(p contracts.Provider, raw json.RawMessage) error {
	return v.check("the provider's rules for credentials", raw, func() subject {
		s := subject{name: "credentials", rules: p.CredentialRules(), data: p.CredentialData()}
		if _, ok := p.(contracts.OAuth2); ok {
			// The token is merged over the credentials, whatever their type.
			s.extra = fieldsOf(reflect.TypeFor[contracts.Token]())
		}
		return s
	})
}

// Metadata is [Validator.Credentials] for the metadata.
func (v *Validator) Metadata(p contracts.Provider, raw json.RawMessage) error {
	return v.check("the provider's rules for metadata", raw, func() subject {
		return subject{name: "metadata", rules: p.MetadataRules(), data: p.MetadataData()}
	})
}

// check bounds the provider's code: its methods, and those of its data, which decode themselves.
func (v *Validator) check(what string, raw json.RawMessage, ask func() subject) error {
	_, err := panics.Compute(what, func() (struct{}, error) { return struct{}{}, v.validate(ask(), raw) })
	return err
}

// Error lists what is wrong with credentials or metadata, by field.
type Error struct {
	Problems []Problem
}

// Problem is one field and what to do about it.
type Problem struct {
	// Field is the path of the field in JSON, such as "credentials.token".
	Field string
	// Message completes a sentence that begins with the field, such as "is required". It contains no value.
	Message string
}

// Error is one line for each field.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.Field+": "+p.Message)
	}
	return strings.Join(lines, "\n")
}

// subject is what is validated: the credentials or the metadata of one provider.
type subject struct {
	name  string
	rules contracts.Rules
	// data is a fresh pointer to the typed value, or nil for a plain map.
	data any
	// extra are fields that are valid beside those of data.
	extra map[string]field
}

func (v *Validator) validate(s subject, raw json.RawMessage) error {
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	values, ok := object(raw)
	if !ok {
		return &Error{Problems: []Problem{{Field: s.name, Message: "must be a JSON object"}}}
	}
	found := problems{}
	var typed reflect.Value
	if s.data != nil {
		checkObject(found, s.name, values, reflect.TypeOf(s.data), s.extra)
		if err := decodeValid(found, s, values); err != nil && len(found) == 0 {
			found.add(s.name, "must have the form that the provider reads")
		}
		typed = reflect.ValueOf(s.data)
	}
	for _, path := range slices.Sorted(maps.Keys(s.rules)) {
		if at, value, given := s.resolve(values, typed, path); at != "" {
			found.add(s.name+"."+at, "must be an object")
		} else if given && !found.within(s.name, path) {
			v.checkRule(found, s.name+"."+path, value, s.rules[path])
		}
	}
	return found.err()
}

// decodeValid decodes the values without a problem into the typed data, so that the rules of the others are looked at in the same round.
func decodeValid(found problems, s subject, values map[string]json.RawMessage) error {
	valid := maps.Clone(values)
	for field := range found {
		name, _, _ := strings.Cut(strings.TrimPrefix(field, s.name+"."), ".")
		delete(valid, name)
	}
	raw, err := json.Marshal(valid)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, s.data)
}

// problems are messages by field; the first one of a field stays.
type problems map[string]string

func (p problems) add(field, message string) {
	if _, ok := p[field]; !ok {
		p[field] = message
	}
}

// within reports whether the field or one that it is in has a problem: then it needs no other.
func (p problems) within(name, path string) bool {
	field := name + "." + path
	for {
		if _, ok := p[field]; ok {
			return true
		}
		end := strings.LastIndexByte(field, '.')
		if end < 0 {
			return false
		}
		field = field[:end]
	}
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	e := &Error{}
	for _, field := range slices.Sorted(maps.Keys(p)) {
		e.Problems = append(e.Problems, Problem{Field: field, Message: p[field]})
	}
	return e
}
