package validate

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Rules says whether the provider's rules can be applied at all, so that a mistake in them stops the start and not a write: every tag is one that
// go-playground/validator knows, with a sensible parameter, sees one field alone, applies to the type of its field, and is for a field that typed data
// has. All mistakes are reported at once, with the provider's name and the field.
func Rules(p contracts.Provider) error {
	v := New()
	credentials := subject{name: "credentials", rules: p.CredentialRules(), data: p.CredentialData()}
	if _, ok := p.(contracts.OAuth2); ok {
		credentials.extra = fieldsOf(reflect.TypeFor[contracts.Token]())
	}
	var mistakes []error
	for _, s := range []subject{credentials, {name: "metadata", rules: p.MetadataRules(), data: p.MetadataData()}} {
		for _, path := range slices.Sorted(maps.Keys(s.rules)) {
			if err := v.checkTag(s, path); err != nil {
				mistakes = append(mistakes, fmt.Errorf("provider %q: rule for %s.%s: %w", p.Name(), s.name, path, err))
			}
		}
	}
	return errors.Join(mistakes...)
}

func (v *Validator) checkTag(s subject, path string) error {
	tag := s.rules[path]
	// The whole tag is parsed before it is applied, which finds unknown names wherever they are.
	if err := v.panicsOnAll(tag, append(samples(), time.Time{})); err != nil {
		return fmt.Errorf("tag %q: %w", tag, err)
	}
	t, err := s.typeOf(path)
	if err != nil {
		return err
	}
	dived := false
	for _, part := range strings.FieldsFunc(tag, func(r rune) bool { return r == ',' || r == '|' }) {
		name, _, _ := strings.Cut(part, "=")
		if comparesFields(name) {
			return fmt.Errorf("tag %q: %s looks at other fields, and a rule sees one field alone", tag, name)
		}
		dived = dived || name == "dive"
		if isStructural(name) {
			continue
		}
		// One by one, for a value that fails at one tag never reaches the next.
		if t == nil || indirect(t) != reflect.TypeFor[time.Time]() {
			if err := v.panicsOnAll(part, samples()); err != nil {
				return fmt.Errorf("tag %q: %w", tag, err)
			}
		}
		if t != nil && !dived && !isObject(t) && v.try(reflect.Zero(indirect(t)).Interface(), part) != nil {
			return fmt.Errorf("tag %q: %s does not apply to %s", tag, name, t)
		}
	}
	return nil
}

// typeOf is the type of a field in the typed data; nil when there is none, or the data reads itself.
func (s subject) typeOf(path string) (reflect.Type, error) {
	if s.data == nil {
		return nil, nil
	}
	t := reflect.TypeOf(s.data)
	for i, name := range strings.Split(path, ".") {
		if !isObject(t) {
			return nil, nil
		}
		known := fieldsOf(indirect(t))
		if i == 0 {
			maps.Copy(known, s.extra)
		}
		f, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%s %s", name, unknown(name, slices.Sorted(maps.Keys(known))))
		}
		t = f.typ
	}
	return t, nil
}

// samples are values of every kind that JSON has.
func samples() []any {
	return []any{"x", int64(1), 1.5, true, []any{"x"}, map[string]any{"x": "x"}}
}

// panicsOnAll returns what the validator says of a tag that it can apply to none of the values.
func (v *Validator) panicsOnAll(tag string, values []any) error {
	var first error
	for _, value := range values {
		err := v.try(value, tag)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// try applies a tag and returns its panic as an error, without what the sample's verdict was.
func (v *Validator) try(value any, tag string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s", strings.TrimSuffix(fmt.Sprint(r), " on field ''"))
		}
	}()
	if verdict := v.rules.Var(value, tag); verdict != nil {
		if _, ok := errors.AsType[*validator.InvalidValidationError](verdict); ok {
			return verdict
		}
	}
	return nil
}

func comparesFields(name string) bool {
	for _, prefix := range []string{"required_", "excluded_", "skip_unless", "fieldcontains", "fieldexcludes"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(name, "field")
}

func isStructural(name string) bool {
	return slices.Contains([]string{"dive", "keys", "endkeys", "omitempty", "omitnil", "omitzero", "structonly", "nostructlevel", "-"}, name)
}
