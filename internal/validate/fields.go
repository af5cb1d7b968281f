package validate

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/spelling"
)

// longestName keeps names that are not names out of messages.
const longestName = 64

// field is a field of typed data as JSON sees it.
type field struct {
	typ reflect.Type
	// index leads to it from the struct, through embedded ones.
	index []int
	// quoted fields have the option string, by which JSON reads a number from a string.
	quoted bool
}

// fieldsOf are the fields of a struct under their JSON names; those of embedded structs are among them, and shadowed by the struct's own.
func fieldsOf(t reflect.Type) map[string]field {
	all := map[string]field{}
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() || f.Anonymous && name == "" && indirect(f.Type).Kind() == reflect.Struct {
			continue
		}
		name = cmp.Or(name, f.Name)
		if other, ok := all[name]; !ok || len(f.Index) < len(other.index) {
			all[name] = field{typ: f.Type, index: f.Index, quoted: slices.Contains(strings.Split(options, ","), "string")}
		}
	}
	return all
}

// isObject reports whether JSON fills a type field by field: a struct that doesn't read itself.
func isObject(t reflect.Type) bool {
	t = indirect(t)
	p := reflect.PointerTo(t)
	return t.Kind() == reflect.Struct && !p.Implements(reflect.TypeFor[json.Unmarshaler]()) && !p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// object reads a JSON object; null is none.
func object(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	var values map[string]json.RawMessage
	err := json.Unmarshal(raw, &values)
	return values, err == nil && values != nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null"
}

// checkObject reports the values that have no field in t, or do not fit theirs.
func checkObject(found problems, path string, values map[string]json.RawMessage, t reflect.Type, extra map[string]field) {
	if !isObject(t) {
		return
	}
	known := fieldsOf(indirect(t))
	for name, f := range extra {
		if _, ok := known[name]; !ok {
			known[name] = f
		}
	}
	for name, raw := range values {
		at := path + "." + name
		f, ok := known[name]
		switch {
		case !ok:
			found.add(path+"."+foreign.Clean(name, longestName).String(), unknown(name, slices.Sorted(maps.Keys(known))))
		case isNull(raw) || f.quoted:
			// null leaves a field as it is; what a quoted number holds is for the decoder to say.
		case isObject(f.typ):
			if inner, ok := object(raw); ok {
				checkObject(found, at, inner, f.typ, nil)
			} else {
				found.add(at, "must be an object")
			}
		case json.Unmarshal(raw, reflect.New(f.typ).Interface()) != nil:
			found.add(at, "must be "+noun(f.typ))
		}
	}
}

// noun describes the values that fit a type.
func noun(t reflect.Type) string {
	t = indirect(t)
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "an RFC 3339 timestamp"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()), reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "what the provider reads as " + t.String()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number (%s)", t.Kind())
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a string in base64"
		}
		return "a list, each element " + noun(t.Elem())
	case reflect.Map:
		return "an object, each value " + noun(t.Elem())
	case reflect.Struct:
		return "an object"
	default:
		return "what the provider reads as " + t.String()
	}
}

func unknown(name string, known []string) string {
	if near, ok := spelling.Nearest(name, known); ok {
		return fmt.Sprintf("is unknown; did you mean %q?", near)
	}
	if len(known) == 0 {
		return "is unknown; there are no fields"
	}
	return "is unknown; known are " + strings.Join(known, ", ")
}
