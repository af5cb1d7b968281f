package outbound

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SecretName reports whether what has this name is taken for a secret: the name of a header, a field of a form or a query, a part. It is the one
// list for all that is stored and shown: the request log, errors, and the requests of webhooks. A signature is a secret, because with the body it
// can be sent again.
func SecretName(name string) bool {
	letters := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
	switch {
	case strings.HasSuffix(letters, "idempotencykey"):
		// It identifies an effect, opens nothing, and is what one looks for in the log.
		return false
	case letters == "code", letters == "codeverifier", strings.HasSuffix(letters, "key"):
		return true
	}
	for _, part := range []string{
		"token", "secret", "password", "passwd", "passphrase", "passcode", "authoriz", "apikey", "accesskey", "privatekey", "signature", "credential",
		"cookie", "assertion", "session", "bearer", "hmac",
	} {
		if strings.Contains(letters, part) {
			return true
		}
	}
	return hasSecretWord(name)
}

// hasSecretWord looks for words that are parts of other words too. Words end where letters and digits do, and where a capital follows a small letter.
func hasSecretWord(name string) bool {
	start := 0
	for i := 0; i <= len(name); i++ {
		switch {
		case i == len(name), !isAlphanumeric(name[i]):
			if isSecretWord(name[start:i]) {
				return true
			}
			start = i + 1
		case i > start && isCapital(name[i]) && !isCapital(name[i-1]):
			if isSecretWord(name[start:i]) {
				return true
			}
			start = i
		}
	}
	return false
}

func isSecretWord(word string) bool {
	switch strings.ToLower(word) {
	case "auth", "authentication", "sig", "pwd", "pass", "jwt", "otp", "totp", "pin":
		return true
	}
	return false
}

func isCapital(c byte) bool { return c >= 'A' && c <= 'Z' }

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || isCapital(c) || c >= '0' && c <= '9' || c >= utf8.RuneSelf
}

// redactURLs redacts what follows a question mark or a hash, as in a URL, and the user of a URL. Everything else of the text stays as it is.
func redactURLs(text string) string {
	if strings.IndexByte(text, '?') < 0 && strings.IndexByte(text, '#') < 0 && !strings.Contains(text, "://") {
		return text
	}
	var shown strings.Builder
	kept := 0
	for at := 0; at < len(text); {
		var start, end int
		var instead string
		switch {
		case text[at] == '?' || text[at] == '#':
			start, end = at+1, at+1+span(text[at+1:], false)
			instead = redactPairs(text[start:end], nil, nil)
		case strings.HasPrefix(text[at:], "://"):
			start = at + len("://")
			end = start + strings.LastIndexByte(text[start:start+span(text[start:], true)], '@') + 1
			if instead = text[start:end]; start < end {
				instead = Redacted + "@"
			}
		default:
			at++
			continue
		}
		if instead != text[start:end] {
			shown.WriteString(text[kept:start])
			shown.WriteString(instead)
			kept = end
		}
		at = max(start, end)
	}
	if kept == 0 {
		return text
	}
	shown.WriteString(text[kept:])
	return shown.String()
}

// escapedAmpersand is how encoding/json writes one.
const escapedAmpersand = `\u0026`

// span is how far a query goes within a text, or the authority of a URL.
func span(text string, authority bool) int {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c <= ' ' || strings.IndexByte("\"'<>`{}|^", c) >= 0:
			return i
		case authority && strings.IndexByte("/?#\\", c) >= 0:
			return i
		case c == '\\' && !strings.HasPrefix(text[i:], escapedAmpersand):
			return i
		case c == '?' || c == '#':
			return i
		}
	}
	return len(text)
}

// redactPairs redacts name=value pairs, as of a query or a form. All that is not secret stays byte for byte.
func redactPairs(text string, declared []path, found *findings) string {
	if strings.IndexByte(text, '=') < 0 {
		return text
	}
	var shown strings.Builder
	kept := 0
	for at := 0; at < len(text); {
		end, next := len(text), len(text)
		if i := strings.IndexAny(text[at:], `&;\`); i >= 0 {
			end, next = at+i, at+i+1
			if strings.HasPrefix(text[end:], escapedAmpersand) {
				next = end + len(escapedAmpersand)
			}
		}
		if name, value, ok := strings.Cut(text[at:end], "="); ok && value != "" && (SecretName(unescaped(name)) || declares(declared, fieldPath(unescaped(name)))) {
			shown.WriteString(text[kept : end-len(value)])
			shown.WriteString(Redacted)
			kept = end
			found.addEscaped(value)
		}
		at = next
	}
	if kept == 0 {
		return text
	}
	shown.WriteString(text[kept:])
	return shown.String()
}

func unescaped(name string) string {
	if plain, err := url.QueryUnescape(name); err == nil {
		return plain
	}
	return name
}

// fieldPath takes the name of a form's field apart: card[number] and card.number are the same path.
func fieldPath(name string) path {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '[' || r == ']' || r == '.' })
}
