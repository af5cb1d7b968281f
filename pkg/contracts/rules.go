package contracts

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// Rules maps a field to its validation tag in the language of go-playground/validator: Rules{"token":
// "required,min=20"}. Fields are named as in JSON; a rule for a field of an object is written with a dot
// ("owner.email"). It applies also when the object is absent, unless the object itself has a rule with omitempty.
//
// A rule sees one field alone, so tags that compare fields (eqfield, required_with) are refused at start-up.
type Rules map[string]string

// RulesFor derives rules from the validate tags of the struct T, under the JSON names of its fields. Structs within T
// are walked, with their names joined by dots; the fields of an optional one (a pointer without required) are checked
// only when it is given. Fields that JSON does not see, and those tagged validate:"-", have no rules. A T that is not a
// struct has none either.
func RulesFor[T any]() Rules {
	rules := Rules{}
	addRules(rules, "", reflect.TypeFor[T](), nil)
	return rules
}

// addRules walks t; path is the structs it is inside of, so that a type that contains itself ends.
func addRules(rules Rules, prefix string, t reflect.Type, path []reflect.Type) {
	t = elem(t)
	if t.Kind() != reflect.Struct {
		return
	}
	if slices.Contains(path, t) {
		return
	}
	path = append(path, t)
	for field := range fieldsOf(t) {
		tag := field.Tag.Get("validate")
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if tag == "-" || field.Tag.Get("json") == "-" {
			continue
		}
		if field.Anonymous && name == "" && elem(field.Type).Kind() == reflect.Struct {
			addRules(rules, prefix, field.Type, path)
			continue
		}
		if !field.IsExported() {
			continue
		}
		name = prefix + cmp.Or(name, field.Name)
		inner := Rules{}
		addRules(inner, name+".", field.Type, path)
		if tag == "" && len(inner) > 0 && field.Type.Kind() == reflect.Pointer {
			tag = "omitempty"
		}
		setRule(rules, name, tag)
		for nested, tag := range inner {
			setRule(rules, nested, tag)
		}
	}
}

// setRule keeps the first: the fields of a struct come before those of the structs it embeds, which it shadows.
func setRule(rules Rules, name, tag string) {
	if _, taken := rules[name]; !taken && tag != "" {
		rules[name] = tag
	}
}

// fieldsOf yields the fields of a struct, embedded ones last.
func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, embedded := range []bool{false, true} {
			for f := range t.Fields() {
				if f.Anonymous == embedded && !yield(f) {
					return
				}
			}
		}
	}
}

func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}
