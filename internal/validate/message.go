package validate

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/go-playground/validator/v10"
)

// message says what to do about a failed tag, from the tag and the kind of the value, never from the value itself.
func message(f validator.FieldError) string {
	kind := f.Kind()
	if f.Tag() == "required" || kind == reflect.Invalid || kind == reflect.Pointer {
		return "is required"
	}
	if when, ok := moment(f); ok {
		return when
	}
	switch f.Tag() {
	case "min", "gte":
		return "must be at least " + amount(f)
	case "max", "lte":
		return "must be at most " + amount(f)
	case "gt":
		return "must be more than " + amount(f)
	case "lt":
		return "must be less than " + amount(f)
	case "len":
		return "must be exactly " + amount(f)
	case "eq":
		return "must be " + f.Param()
	case "ne":
		return "must not be " + f.Param()
	case "oneof", "oneofci":
		return "must be one of " + strings.Join(strings.Fields(f.Param()), ", ")
	case "startswith":
		return fmt.Sprintf("must start with %q", f.Param())
	case "endswith":
		return fmt.Sprintf("must end with %q", f.Param())
	case "contains":
		return fmt.Sprintf("must contain %q", f.Param())
	case "excludes":
		return fmt.Sprintf("must not contain %q", f.Param())
	case "datetime":
		return fmt.Sprintf("must be a time written like %q", f.Param())
	}
	if what, ok := noTag(f.Tag()); ok {
		return "must be " + what
	}
	if f.Param() != "" {
		return fmt.Sprintf("must satisfy the rule %s=%s", f.Tag(), f.Param())
	}
	return "must satisfy the rule " + f.Tag()
}

// moment says what tags that compare a time with now ask for.
func moment(f validator.FieldError) (string, bool) {
	if f.Kind() != reflect.Struct || f.Param() != "" {
		return "", false
	}
	switch f.Tag() {
	case "gt":
		return "must be in the future", true
	case "gte", "min":
		return "must not be in the past", true
	case "lt":
		return "must be in the past", true
	case "lte", "max":
		return "must not be in the future", true
	default:
		return "", false
	}
}

// noTag names what tags without a parameter ask for.
func noTag(tag string) (string, bool) {
	switch tag {
	case "email":
		return "an email address", true
	case "url", "uri":
		return "a URL", true
	case "http_url":
		return "an http or https URL", true
	case "https_url":
		return "an https URL", true
	case "hostname", "hostname_rfc1123", "fqdn":
		return "a host name", true
	case "hostname_port":
		return "a host name and a port", true
	case "ip":
		return "an IP address", true
	case "uuid", "uuid4", "uuid7":
		return "a UUID", true
	case "alpha":
		return "letters only", true
	case "alphanum":
		return "letters and digits only", true
	case "numeric", "number":
		return "a number", true
	case "lowercase":
		return "in lower case", true
	case "uppercase":
		return "in upper case", true
	case "unique":
		return "without repetitions", true
	default:
		return "", false
	}
}

// amount is the parameter of a tag that counts, with what it counts in the value: characters of text, items of a list or object.
func amount(f validator.FieldError) string {
	unit := ""
	switch f.Kind() {
	case reflect.String:
		unit = " character"
	case reflect.Slice, reflect.Array, reflect.Map:
		unit = " item"
	default: // a number is its own amount
	}
	if unit != "" && f.Param() != "1" {
		unit += "s"
	}
	return f.Param() + unit
}
