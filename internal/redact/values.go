package redact

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// shortestValue is from how many bytes on a credential is looked for: shorter ones would turn up by chance.
const shortestValue = 8

// replacement replaces values, in every spelling. Nil replaces nothing.
type replacement struct {
	spelled  []string
	replacer *strings.Replacer
}

// in returns a text without the values. Most texts have none, and the replacer would write each anew.
func (r *replacement) in(text string) string {
	if r == nil || !slices.ContainsFunc(r.spelled, func(value string) bool { return strings.Contains(text, value) }) {
		return text
	}
	return r.replacer.Replace(text)
}

// replacer replaces values, and tells how long the longest is.
func replacer(secrets []string) (values *replacement, longest int) {
	var spelled []string
	for _, value := range secrets {
		if len(value) >= shortestValue {
			spelled = append(spelled, spellings(value)...)
		}
	}
	if len(spelled) == 0 {
		return nil, 0
	}
	slices.SortFunc(spelled, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	spelled = slices.Compact(spelled)
	pairs := make([]string, 0, 2*len(spelled))
	for _, text := range spelled {
		pairs = append(pairs, text, Redacted)
	}
	return &replacement{spelled: spelled, replacer: strings.NewReplacer(pairs...)}, len(spelled[0])
}

// leaves are the texts and numbers in a JSON value, those of JSON inside of texts too.
func leaves(into []string, value any) []string {
	switch value := value.(type) {
	case map[string]any:
		for _, inner := range value {
			into = leaves(into, inner)
		}
	case []any:
		for _, inner := range value {
			into = leaves(into, inner)
		}
	case json.Number:
		into = append(into, value.String())
	case string:
		into = append(into, value)
		var inner map[string]any
		if strings.HasPrefix(strings.TrimSpace(value), "{") && json.Unmarshal([]byte(value), &inner) == nil {
			into = leaves(into, inner)
		}
	}
	return into
}

// spellings are the forms in which a value may appear.
func spellings(value string) []string {
	all := []string{
		value, url.QueryEscape(value), url.PathEscape(value), escapedLower(url.QueryEscape(value)), inJSON(value, true), inJSON(value, false),
		base64.StdEncoding.EncodeToString([]byte(value)), base64.URLEncoding.EncodeToString([]byte(value)),
	}
	// Within a longer text, as in "user:password", the encoding depends on where the value begins; what is the same in all is its middle.
	for before := range 3 {
		padded := append(make([]byte, before), value...)
		from, to := (8*before+5)/6, 8*len(padded)/6
		all = append(all, base64.RawStdEncoding.EncodeToString(padded)[from:to], base64.RawURLEncoding.EncodeToString(padded)[from:to])
	}
	return all
}

// escapedLower spells percent-encoding with small letters.
func escapedLower(escaped string) string {
	lower := []byte(escaped)
	for i := 0; i+2 < len(lower); i++ {
		if lower[i] == '%' {
			copy(lower[i+1:], bytes.ToLower(lower[i+1:i+3]))
		}
	}
	return string(lower)
}

func inJSON(value string, escapeHTML bool) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(escapeHTML)
	if encoder.Encode(value) != nil {
		return value
	}
	return strings.Trim(strings.TrimSpace(text.String()), `"`)
}
