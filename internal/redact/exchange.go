package redact

import (
	"net/url"
	"strings"
)

// findings are secrets that were taken out of something.
type findings struct{ values []string }

func (f *findings) add(value string) {
	if f != nil && len(value) >= shortestValue {
		f.values = append(f.values, value)
	}
}

// addFields adds what a header such as "Bearer x" or "a=x; b=y" may carry.
func (f *findings) addFields(value string) {
	if f == nil {
		return
	}
	f.add(value)
	for _, field := range strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ';' || r == ',' }) {
		f.add(field)
		if _, inner, ok := strings.Cut(field, "="); ok {
			f.add(inner)
		}
	}
}

// addEscaped adds a value of a form or a query.
func (f *findings) addEscaped(value string) {
	if plain, err := url.QueryUnescape(value); err == nil {
		f.add(plain)
	}
	f.add(value)
}

func (r *Redactor) findings() *findings {
	if r == nil {
		return nil
	}
	return r.found
}

// Exchange returns a redactor for one request, which is to be used first, and a function that makes the one for its answer: an upstream that echoes what
// it was sent, or complains about it, does so where nobody has declared a secret.
func (r *Redactor) Exchange() (request *Redactor, answer func() *Redactor) {
	request = &Redactor{}
	if r != nil {
		*request = *r
	}
	request.found = &findings{}
	return request, func() *Redactor {
		echoed := *request
		echoed.found = nil
		var longest int
		echoed.sent, longest = replacer(request.found.values)
		echoed.longest = max(request.longest, longest)
		return &echoed
	}
}
