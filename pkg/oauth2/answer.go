package oauth2

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// longestLife is the longest life that a token is believed to have. A longer one is as good as none.
const longestLife = 100 * 365 * 24 * time.Hour

// readToken reads what a token endpoint answered: JSON or a form, whatever the content type says. It returns every token that it
// finds, also with an error: the refresh token before it may be spent. The expiry counts from when the request started.
func readToken(status int, header http.Header, body []byte, started time.Time) (contracts.Token, error) {
	fields := fieldsOf(body)
	holder := holderOf(fields)
	token := contracts.Token{AccessToken: textOf(holder["accesstoken"]), RefreshToken: textOf(holder["refreshtoken"])}
	if status/100 != 2 || token.AccessToken == "" && codeOf(fields) != "" {
		return token, refusalOf(status, header, fields, started)
	}
	if token.AccessToken == "" {
		return token, &Error{Status: status, Description: missingToken(body, fields)}
	}
	if kind := textOf(holder["tokentype"]); kind != "" && !strings.EqualFold(strings.TrimSpace(kind), "bearer") {
		return token, &Error{Status: status, Code: "unsupported_token_type", Description: fmt.Sprintf("the token is of type %q, only Bearer tokens can be sent", shown(kind))}
	}
	token.ExpiresAt = expiryOf(holder, header, started)
	return token, nil
}

func missingToken(body []byte, fields map[string]any) string {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return "the answer is empty"
	case fields == nil:
		return "the answer is neither JSON nor a form"
	default:
		return "the answer has no access_token"
	}
}

// fieldsOf reads a body, with the names of fields normalized; nil if it is neither a JSON object nor a form.
func fieldsOf(body []byte) map[string]any {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf")))
	var raw map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	// What follows the object is of no matter.
	if err := decoder.Decode(&raw); err == nil {
		return normalized(raw)
	}
	if bytes.ContainsAny(body, " \n<{") {
		return nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("access_token") && !form.Has("error") {
		return nil
	}
	fields := map[string]any{}
	for name, values := range form {
		fields[plainName(name)] = values[0]
	}
	return fields
}

// normalized has the names of all fields in one spelling: access_token, accessToken and Access-Token are the same.
func normalized(raw map[string]any) map[string]any {
	fields := make(map[string]any, len(raw))
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		value := raw[name]
		if inner, ok := value.(map[string]any); ok {
			value = normalized(inner)
		}
		// Of two spellings the standard's counts.
		if _, taken := fields[plainName(name)]; !taken || strings.Contains(name, "_") {
			fields[plainName(name)] = value
		}
	}
	return fields
}

func plainName(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(name))
}

// holderOf is the object that has the token: the answer itself, or the one object in it that has one.
func holderOf(fields map[string]any) map[string]any {
	if textOf(fields["accesstoken"]) != "" {
		return fields
	}
	var found []map[string]any
	for _, value := range fields {
		if inner, ok := value.(map[string]any); ok && textOf(inner["accesstoken"]) != "" {
			found = append(found, inner)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return fields
}

// textOf is a string, or a number as it was spelled.
func textOf(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	default:
		return ""
	}
}

// expiryOf is when a token ends, by this process's clock; nil if the answer does not say so, or not so that it can be read. A
// point in time is a distance on the clock of the server, which its Date header shows.
func expiryOf(holder map[string]any, header http.Header, started time.Time) *time.Time {
	for _, name := range []string{"expiresin", "expires"} {
		seconds, err := strconv.ParseFloat(strings.TrimSpace(textOf(holder[name])), 64)
		switch {
		case err != nil && !errors.Is(err, strconv.ErrRange), math.IsNaN(seconds):
		case name == "expires" && seconds >= sinceEpoch:
			return expiryAt(holder[name], header, started)
		case seconds == 0:
			// Servers say so of tokens that do not end.
			return nil
		default:
			return expiryIn(seconds, started)
		}
	}
	for _, name := range []string{"expiresat", "expireson", "expires", "tokenexpiresat"} {
		if at := expiryAt(holder[name], header, started); at != nil {
			return at
		}
	}
	return nil
}

func expiryIn(seconds float64, started time.Time) *time.Time {
	if seconds > longestLife.Seconds() {
		return nil
	}
	life := time.Duration(max(seconds, -longestLife.Seconds()) * float64(time.Second))
	at := started.Add(life).UTC()
	return &at
}

// sinceEpoch is the least number that is a time since 1970 and no number of seconds; sinceEpochMillis of those in milliseconds.
const (
	sinceEpoch       = 1e9
	sinceEpochMillis = 1e12
)

func expiryAt(value any, header http.Header, started time.Time) *time.Time {
	text := strings.TrimSpace(textOf(value))
	var theirs time.Time
	if number, err := strconv.ParseFloat(text, 64); err == nil {
		if number >= sinceEpochMillis {
			number /= 1000
		}
		if number < sinceEpoch || number > sinceEpochMillis {
			return nil
		}
		theirs = time.UnixMilli(int64(number * 1000))
	} else if theirs, err = time.Parse(time.RFC3339, text); err != nil {
		if theirs, err = http.ParseTime(text); err != nil {
			return nil
		}
	}
	if now, err := http.ParseTime(header.Get("Date")); err == nil {
		return expiryIn(theirs.Sub(now).Seconds(), started)
	}
	at := theirs.UTC()
	return &at
}

// endedCodes are what servers answer when a grant is no more, or waits for its user, in one spelling: see [plainName]. RFC 6749
// section 5.2 names invalid_grant; OpenID Connect has those that require the user; some servers answer a refresh
// token that was used before with unauthorized_client.
func endedCodes() []string {
	return []string{
		"invalidgrant", "unauthorizedclient",
		"interactionrequired", "loginrequired", "consentrequired", "accountselectionrequired", "reauthenticationrequired",
		"badrefreshtoken", "invalidrefreshtoken", "expiredrefreshtoken", "refreshtokenexpired", "refreshtokenrevoked", "refreshtokeninvalid",
		"invalidtoken", "expiredtoken", "tokenexpired", "tokenrevoked", "tokeninactive", "inactivetoken", "tokennotfound",
		"grantrevoked", "grantexpired", "authorizationrevoked", "authorizationexpired", "accessdenied", "invalidauth", "accountinactive",
	}
}

// ended reports whether a refresh was refused because its grant has ended.
func ended(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && slices.Contains(endedCodes(), plainName(refused.Code))
}

// refusalOf makes a refusal of an answer. One that says when to come again is a deferral.
func refusalOf(status int, header http.Header, fields map[string]any, now time.Time) error {
	refusal := NewError(status, codeOf(fields), descriptionOf(fields))
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		if wait, ok := contracts.ReadRetryAfter(header, now); ok {
			return contracts.RetryAfter(wait, refusal)
		}
	}
	return refusal
}

// codeOf is the error code of an answer. RFC 6749 has it in the field error; others nest it, or name it otherwise. A code that
// ends a grant is preferred, wherever it stands.
func codeOf(fields map[string]any) string {
	var all []string
	collectCodes(fields, 0, &all)
	for _, code := range all {
		if slices.Contains(endedCodes(), plainName(code)) {
			return code
		}
	}
	if len(all) > 0 {
		return all[0]
	}
	return ""
}

// codeFields are where error codes are found, the most telling first.
func codeFields() []string {
	return []string{"error", "errorcode", "errortype", "errorkey", "suberror", "errors", "code", "type", "reason", "status", "fault", "detail", "details"}
}

// deepest bounds how far into an answer a code is looked for.
const deepest = 4

func collectCodes(value any, depth int, found *[]string) {
	if depth > deepest {
		return
	}
	switch value := value.(type) {
	case map[string]any:
		for _, name := range codeFields() {
			inner, ok := value[name]
			text := textOf(inner)
			switch {
			case !ok:
			case text == "":
				collectCodes(inner, depth+1, found)
			case isCode(text) && (depth > 0 || strings.HasPrefix(name, "err") || slices.Contains(endedCodes(), plainName(text))):
				*found = append(*found, text)
			}
		}
	case []any:
		for _, inner := range value {
			if text := textOf(inner); isCode(text) {
				*found = append(*found, text)
			}
			if inner, ok := inner.(map[string]any); ok {
				collectCodes(normalized(inner), depth+1, found)
			}
		}
	}
}

// isCode reports whether text can be an error code, and is no sentence and no number.
func isCode(text string) bool {
	return text != "" && len(text) <= 64 && !strings.Contains(text, " ") && strings.ContainsFunc(text, func(r rune) bool { return r >= 'A' })
}

func descriptionOf(fields map[string]any) string {
	for _, name := range []string{"errordescription", "errormessage", "message", "errorsummary", "title"} {
		if text := textOf(fields[name]); text != "" {
			return text
		}
	}
	for _, name := range []string{"error", "fault"} {
		if inner, ok := fields[name].(map[string]any); ok {
			return descriptionOf(inner)
		}
	}
	if text := textOf(fields["error"]); text != "" && !isCode(text) {
		return text
	}
	return ""
}
