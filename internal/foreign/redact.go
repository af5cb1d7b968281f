package foreign

import "strings"

// Redacted stands where something secret was.
const Redacted = "[REDACTED]"

// Redact takes out of a text without a known structure, such as an error, what is secret by the name that it stands
// under: in the queries of URLs, in name=value, in "name": "value", in elements of XML, in headers such as
// Authorization, and in the parts of a multipart body, which are left out whole. The user of a URL is taken out too.
// The rules for names are those of [SecretName]. A text that is redacted twice is the same as one that is redacted
// once.
func Redact(text string) string {
	if strings.IndexByte(text, ':') >= 0 {
		text = redactMultipart(text)
	}
	return redactSchemes(redactFields(RedactURLs(redactElements(text))))
}

// redactFields redacts values that stand behind a name and = or a colon.
func redactFields(text string) string {
	var shown strings.Builder
	kept, at := 0, 0
	for {
		next := strings.IndexAny(text[at:], "=:")
		if next < 0 {
			break
		}
		at += next
		start, end := secretField(text, at)
		if start < end {
			shown.WriteString(text[kept:start])
			shown.WriteString(Redacted)
			kept = end
		}
		at = max(at+1, end)
	}
	if kept == 0 {
		return text
	}
	shown.WriteString(text[kept:])
	return shown.String()
}

// secretField finds the secret value behind the separator at a place of a text; an empty one if there is none.
func secretField(text string, at int) (start, end int) {
	name, quoted := nameBefore(text, at)
	if name == "" || !SecretName(name) {
		return 0, 0
	}
	start = at + 1 + blanks(text[at+1:])
	if start == len(text) || strings.HasPrefix(text[start:], Redacted) || strings.IndexByte("=/:", text[at+1:][0]) >= 0 {
		return 0, 0
	}
	// As names these two mean many things outside of a query: the code of an error, the key of a row.
	vague := strings.EqualFold(name, "code") || strings.EqualFold(name, "key")
	if text[at] == '=' {
		start, end = valueAt(text, start)
		if vague && (start > at+1 && isBlank(text[at+1]) || isDecimal(text[start:end])) {
			return 0, 0
		}
		return start, end
	}
	switch {
	case vague:
		return 0, 0
	case quoted:
		return jsonValueAt(text, start)
	case isHeader(name):
		return headerAt(text, start, name)
	}
	// Behind a colon there may be the cause of an error, as in "read the token: not found".
	if from, to := valueAt(text[:min(len(text), start+longestLook)], start); !looksRandom(text, from, to) {
		return 0, 0
	}
	return valueAt(text, start)
}

const (
	// longestName is how many bytes of a name are looked at.
	longestName = 64
	// longestLook is how many bytes of a value are looked at to tell whether it is a secret.
	longestLook = 256
)

// nameBefore is the name that ends before a place, and whether it is in quotes.
func nameBefore(text string, at int) (name string, quoted bool) {
	if at > 0 && isBlank(text[at-1]) {
		at--
	}
	if at > 0 && isQuote(text[at-1]) {
		quoted = true
		for at--; at > 0 && text[at-1] == '\\'; {
			at--
		}
	}
	start := at
	for start > 0 && at-start < longestName && (isAlphanumeric(text[start-1]) || strings.IndexByte("-_.[]", text[start-1]) >= 0) {
		start--
	}
	name = text[start:at]
	if !strings.HasSuffix(name, "]") {
		// As in map[token:x].
		name = name[strings.LastIndexByte(name, '[')+1:]
	}
	return name, quoted
}

// valueAt is the value that begins at a place: up to the other quote, or a word, with the one behind it where the first is a scheme such as Bearer.
func valueAt(text string, start int) (from, to int) {
	if from, to, ok := quotedAt(text, start); ok {
		return from, to
	}
	end := start + wordSize(text[start:])
	if next := end + blanks(text[end:]); isScheme(text[start:end]) && next < len(text) {
		if from, to, ok := quotedAt(text, next); ok {
			return from, to
		}
		end = next + wordSize(text[next:])
	}
	return start, start + len(strings.TrimRight(text[start:end], ".,;:)]}"))
}

// quotedAt is the inside of quotes that begin at a place. Quotes that nobody closes go to the end of the text.
func quotedAt(text string, start int) (from, to int, ok bool) {
	// As often as the text was put in quotes, which each time more than doubles the backslashes.
	quoting := text[start : start+len(text[start:])-len(strings.TrimLeft(text[start:], `\`))]
	start += len(quoting)
	if start >= len(text) || !isQuote(text[start]) {
		return 0, 0, false
	}
	quote := text[start]
	from = start + 1
	if strings.HasPrefix(text[from:], Redacted) {
		return from, from, true
	}
	for to = from; to < len(text) && text[to] != quote; {
		if quoting != "" && strings.HasPrefix(text[to:], quoting+string(quote)) {
			break
		}
		to += charSize(text[to:], quoting != "")
	}
	return from, min(to, len(text)), true
}

// jsonValueAt is a string, a list or a number of JSON, without its quotes.
func jsonValueAt(text string, start int) (from, to int) {
	switch text[start] {
	case '[':
		if strings.HasPrefix(text[start+1:], Redacted) {
			return 0, 0
		}
		end := strings.IndexByte(text[start:], ']')
		if end < 0 {
			end = len(text) - start
		}
		return start + 1, start + end
	case '{':
		return 0, 0
	}
	from, to = valueAt(text, start)
	switch text[from:to] {
	case "null", "true", "false":
		return 0, 0
	}
	return from, to
}

// isHeader reports whether a name is that of a header, and so not the end of a sentence.
func isHeader(name string) bool {
	return strings.IndexByte(name, '-') > 0 || strings.EqualFold(name, "authorization") || strings.EqualFold(name, "cookie")
}

// headerAt is the value of a header: a word, with the one behind it where the first is a scheme, or all of the line for lists.
func headerAt(text string, start int, name string) (from, to int) {
	if text[start] == '[' { // as Go prints it
		start++
	}
	if strings.HasPrefix(text[start:], Redacted) {
		return 0, 0
	}
	from, to = valueAt(text, start)
	list := strings.HasPrefix(strings.ToLower(text[from:to]), "digest") || strings.HasSuffix(strings.ToLower(name), "cookie")
	if from == start && list {
		to = from + lineSize(text[from:])
	}
	return from, to
}

// redactSchemes redacts what follows Bearer and Basic where no name stands before.
func redactSchemes(text string) string {
	for _, scheme := range []string{"earer ", "asic "} {
		var shown strings.Builder
		kept := 0
		for at := strings.Index(text, scheme); at >= 0; {
			start := at + len(scheme)
			end := start + wordSize(text[start:])
			if looksRandom(text, start, end) {
				shown.WriteString(text[kept:start])
				shown.WriteString(Redacted)
				kept = end
			}
			if at = strings.Index(text[end:], scheme); at >= 0 {
				at += end
			}
		}
		if kept > 0 {
			text = shown.String() + text[kept:]
		}
	}
	return text
}

// shortestRandom is the length from which on a word may be a secret where nothing but its look says so.
const shortestRandom = 6

// looksRandom reports whether a part of a text looks like a secret rather than like a word of a sentence: it has letters and digits, and is no URL.
func looksRandom(text string, start, end int) bool {
	word := text[start:end]
	if len(word) < shortestRandom || strings.HasPrefix(text[end:], ": ") || strings.Contains(word, "://") || strings.HasPrefix(word, Redacted) {
		return false
	}
	letters := strings.ContainsFunc(word, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' })
	return letters && strings.ContainsAny(word, "0123456789")
}
