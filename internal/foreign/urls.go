package foreign

import (
	"net/url"
	"strings"
)

// RedactURLs redacts what follows a question mark or a hash, as in a URL, and the user of a URL. Everything else of the text stays as it is.
func RedactURLs(text string) string {
	if strings.IndexByte(text, '?') < 0 && strings.IndexByte(text, '#') < 0 && !strings.Contains(text, "://") {
		return text
	}
	var shown strings.Builder
	var words word
	kept := 0
	for at := 0; at < len(text); {
		var start, end int
		var instead string
		switch {
		case text[at] == '?' || text[at] == '#':
			start, end = at+1, at+1+span(text[at+1:], false)
			instead = RedactPairs(text[start:end], SecretName, nil)
		case strings.HasPrefix(text[at:], "://"):
			start = at + len("://")
			end = start + words.userinfo(text, start)
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

// userinfo is the length of the user and password that follow "://", with the at sign; 0 without them. A password that
// was not escaped may contain a slash, which ends the authority of a URL. Its part before the slash then stands where
// the port does, and is no number.
func (w *word) userinfo(text string, start int) int {
	authority := text[start : start+span(text[start:], true)]
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		return at + 1
	}
	_, port, ok := strings.Cut(authority, ":")
	if !ok || strings.HasPrefix(authority, "[") || strings.Trim(port, "0123456789") == "" && port != "" {
		return 0
	}
	w.read(text, start)
	return max(w.at+1-start, 0)
}

// word is the word that was looked at last, by where it ends and where its last at sign is. A word may have many URLs,
// and is read once for all of them.
type word struct{ end, at int }

func (w *word) read(text string, start int) {
	if start < w.end {
		return
	}
	rest := strings.TrimLeftFunc(text[start:], func(r rune) bool { return r > ' ' && !strings.ContainsRune("\"'<>`", r) })
	w.end = len(text) - len(rest)
	if w.at = strings.LastIndexByte(text[start:w.end], '@'); w.at >= 0 {
		w.at += start
	}
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

// RedactPairs redacts the values of name=value pairs, as of a query or a form, whose names are secret. found, if it is not nil, is called with each value. All that is not
// secret stays byte for byte.
func RedactPairs(text string, secret func(name string) bool, found func(value string)) string {
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
		if name, value, ok := strings.Cut(text[at:end], "="); ok && value != "" && secret(unescaped(name)) {
			shown.WriteString(text[kept : end-len(value)])
			shown.WriteString(Redacted)
			kept = end
			if found != nil {
				found(value)
			}
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
