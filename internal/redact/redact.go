// Package redact takes secrets out of what is kept or shown of requests to third parties: rows of the request log, errors, log
// lines and spans.
package redact

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Redacted stands where something secret was.
const Redacted = foreign.Redacted

// Redactor takes secrets out of all that is kept or shown of an integration's requests: rows of the request log, errors, log lines, spans. It is
// built once for each state of an integration, and safe for concurrent use. A nil one knows the rules for names alone.
//
// Three things are secret: what has a name such as token, secret, password or key in a header, a query, a form or a part of a multipart body; what the provider
// declares by [contracts.Redactor], in JSON and in forms; and the integration's own credentials wherever they appear, also URL-, base64- or
// JSON-encoded.
type Redactor struct {
	request, response []path
	// blind says that the provider does not tell what is sensitive: no body and no query is shown.
	blind  bool
	values *replacement
	// longest is the length of the longest of the values: so much of a text's cut end may be the beginning of one.
	longest int
	// sent replaces the secrets of one request, which an answer may echo anywhere; found collects them. See [Redactor.Exchange].
	sent  *replacement
	found *findings
}

// New returns the redactor of an integration.
func New(provider contracts.Provider, in *contracts.Integration) *Redactor {
	r := &Redactor{}
	if declared, ok := provider.(contracts.Redactor); ok {
		r.ask(declared)
	}
	if in == nil {
		return r
	}
	// Credentials that can't be read can't be sent either.
	if credentials, err := in.Credentials(); err == nil {
		r.values, r.longest = replacer(leaves(nil, credentials))
	}
	return r
}

// ask learns what a provider calls sensitive; its code may panic, or not return.
func (r *Redactor) ask(provider contracts.Redactor) {
	type fields struct{ request, response []path }
	declared, err := panics.Compute("the list of sensitive fields", func() (f fields, err error) {
		f.request, f.response = paths(provider.SensitiveRequestFields()), paths(provider.SensitiveResponseFields())
		return f, nil
	})
	r.request, r.response, r.blind = declared.request, declared.response, err != nil
}

// Text redacts a text without a known structure, such as an error: what [foreign.Redact] takes for a secret, and the credentials.
func (r *Redactor) Text(text string) string { return r.credentials(foreign.Redact(text)) }

// structured redacts the URLs and the credentials in a text whose fields have been looked at by their structure.
func (r *Redactor) structured(text string) string { return r.credentials(foreign.RedactURLs(text)) }

// Query redacts a raw query, without its question mark.
func (r *Redactor) Query(raw string) string {
	if r != nil && r.blind && raw != "" {
		return Redacted
	}
	return r.structured(redactPairs(raw, r.requestPaths(), r.findings()))
}

// URL returns a URL without secrets: the given one, where it has none.
func (r *Redactor) URL(u *url.URL) *url.URL {
	shown := *u
	if shown.User != nil {
		shown.User = url.User(Redacted)
	}
	shown.Host, shown.Opaque, shown.RawQuery = r.credentials(u.Host), r.Text(u.Opaque), r.Query(u.RawQuery)
	shown.Fragment, shown.RawFragment = "", ""
	if shown.Path = r.credentials(u.Path); shown.Path != u.Path {
		shown.RawPath = ""
	}
	if shown == *u {
		return u
	}
	return &shown
}

// Error returns an error that shows no secrets, and is still the same to [errors.Is] and [errors.As].
func (r *Redactor) Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	shown := r.Text(text)
	if shown == text {
		return err
	}
	return &redactedError{text: shown, cause: err}
}

type redactedError struct {
	text  string
	cause error
}

func (e *redactedError) Error() string { return e.text }
func (e *redactedError) Unwrap() error { return e.cause }

// Timeout is what [url.Error] asks of an error that it wraps.
func (e *redactedError) Timeout() bool {
	var slow interface{ Timeout() bool }
	return errors.As(e.cause, &slow) && slow.Timeout()
}

// Header returns a redacted copy.
func (r *Redactor) Header(header http.Header) http.Header {
	shown := make(http.Header, len(header))
	for name, values := range header {
		kept := make([]string, len(values))
		for i, value := range values {
			if foreign.SecretName(name) {
				kept[i] = Redacted
				r.findings().addFields(value)
			} else {
				kept[i] = r.Text(value)
			}
		}
		shown[name] = kept
	}
	return shown
}

// RequestBody redacts a request's body, or the beginning of one that was cut. What nothing had to be taken from is returned as it is.
func (r *Redactor) RequestBody(contentType string, body []byte, cut bool) []byte {
	return r.body(contentType, body, cut, r.requestPaths())
}

// ResponseBody is RequestBody for an answer.
func (r *Redactor) ResponseBody(contentType string, body []byte, cut bool) []byte {
	if r == nil {
		return r.body(contentType, body, cut, nil)
	}
	return r.body(contentType, body, cut, r.response)
}

func (r *Redactor) body(contentType string, body []byte, cut bool, declared []path) []byte {
	if r != nil && r.blind {
		return []byte(Redacted)
	}
	media, parameters, _ := mime.ParseMediaType(contentType)
	redact := r.structured
	switch {
	case media == "application/x-www-form-urlencoded":
		body = []byte(redactPairs(string(body), declared, r.findings()))
	case strings.HasPrefix(media, "multipart/"):
		body = redactParts(body, parameters["boundary"], declared, r.findings())
	case strings.Contains(media, "json"), looksLikeJSON(body):
		body = redactJSON(body, declared, r.findings())
	default:
		redact = r.Text
	}
	text := string(body)
	shown := redact(text)
	if cut && r != nil && r.longest > 0 {
		// The end may be the beginning of a credential.
		shown = shown[:max(len(shown)-r.longest+1, 0)]
	}
	if shown == text {
		return body
	}
	return []byte(shown)
}

func (r *Redactor) requestPaths() []path {
	if r == nil {
		return nil
	}
	return r.request
}

func (r *Redactor) credentials(text string) string {
	if r == nil {
		return text
	}
	return r.sent.in(r.values.in(text))
}

func looksLikeJSON(body []byte) bool {
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	return len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[')
}
