package validate

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"
)

// checkRule applies a tag to one value. The value never reaches the message.
func (v *Validator) checkRule(found problems, at string, value any, tag string) {
	defer func() {
		// The validator panics on a kind of value that a tag does not apply to, which rules of a plain map can meet.
		if recover() != nil {
			found.add(at, "has the wrong type")
		}
	}()
	err := v.rules.Var(value, tag)
	if err == nil {
		return
	}
	var failed validator.ValidationErrors
	if !errors.As(err, &failed) {
		found.add(at, "is not valid")
		return
	}
	for _, f := range failed {
		found.add(at+element(f.Namespace()), message(f))
	}
}

// element is the part of a list that a rule behind dive has failed on. A key of a map stays unsaid: it may be as secret as its value.
func element(namespace string) string {
	inner, ok := strings.CutPrefix(namespace, "[")
	if !ok {
		return ""
	}
	if inner, _, ok = strings.Cut(inner, "]"); ok && inner != "" && strings.Trim(inner, "0123456789") == "" {
		return "[" + inner + "]"
	}
	return "[*]"
}

// resolve finds the value that a rule is for. Where typed data is, that is its Go value, so that an absent number is 0 and a time is a time; otherwise
// it is the JSON value. given is false when the rule is for a field of an optional object that is absent. notObject is the path of something
// that should be an object and is not.
func (s subject) resolve(values map[string]json.RawMessage, typed reflect.Value, path string) (notObject string, value any, given bool) {
	names := strings.Split(path, ".")
	for i, name := range names[:len(names)-1] {
		at := strings.Join(names[:i+1], ".")
		raw := values[name]
		if isNull(raw) {
			if isOptional(s.rules[at]) {
				return "", nil, false
			}
			values = nil
			continue
		}
		inner, ok := object(raw)
		if !ok {
			return at, nil, false
		}
		values = inner
	}
	if typed.IsValid() {
		if v, ok := goValue(typed, names); ok {
			return "", v, true
		}
	}
	return "", jsonValue(values[names[len(names)-1]]), true
}

func isOptional(tag string) bool {
	for part := range strings.SplitSeq(tag, ",") {
		if part == "omitempty" || part == "omitnil" || part == "omitzero" {
			return true
		}
	}
	return false
}

// goValue walks typed data along JSON names. It is false where it ends at an object, or leads through a nil pointer or data that reads itself: there
// the JSON value has to do.
func goValue(v reflect.Value, names []string) (any, bool) {
	for _, name := range names {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return nil, false
			}
			v = v.Elem()
		}
		if !isObject(v.Type()) {
			return nil, false
		}
		f, ok := fieldsOf(v.Type())[name]
		if !ok {
			return nil, false
		}
		inner, err := v.FieldByIndexErr(f.index)
		if err != nil {
			return nil, false
		}
		v = inner
	}
	t := indirect(v.Type())
	if t.Kind() == reflect.Struct && !(t.PkgPath() == "time" && t.Name() == "Time") {
		return nil, false
	}
	return v.Interface(), true
}

// jsonValue decodes a value as the validator knows values: whole numbers as int64, other numbers as float64, absent ones as nil.
func jsonValue(raw json.RawMessage) any {
	if isNull(raw) {
		return nil
	}
	var whole int64
	if json.Unmarshal(raw, &whole) == nil {
		return whole
	}
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil
	}
	return value
}
