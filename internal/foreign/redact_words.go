package foreign

import (
	"strconv"
	"strings"
)

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isQuote(c byte) bool { return c == '"' || c == '\'' || c == '`' }

func isDecimal(text string) bool { return strings.Trim(text, "0123456789") == "" }

// blanks is how many spaces a text begins with.
func blanks(text string) int { return len(text) - len(strings.TrimLeft(text, " \t")) }

// charSize is the length of the character of a string of JSON or Go that a text begins with. escaped says that the string is quoted within another.
func charSize(text string, escaped bool) int {
	backslash := `\`
	if escaped {
		backslash = `\\`
	}
	if !strings.HasPrefix(text, backslash) {
		return 1
	}
	if escaped && strings.HasPrefix(text[len(backslash):], `\`) {
		return len(backslash) + len(`\"`)
	}
	return len(backslash) + 1
}

// wordSize is how far a value without quotes goes.
func wordSize(text string) int {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c <= ' ' || isQuote(c) || strings.IndexByte("&<>", c) >= 0, strings.HasPrefix(text[i:], escapedAmpersand):
			return i
		case c == '\\' && i+1 < len(text) && isQuote(text[i+1]):
			return i
		}
	}
	return len(text)
}

// lineSize is how far a line goes, also one that is written with escapes or in quotes.
func lineSize(text string) int {
	size := len(text)
	if i := strings.IndexAny(text, "\r\n]`"); i >= 0 {
		size = i
	}
	for _, ending := range []string{`\r`, `\n`} {
		if i := strings.Index(text[:size], ending); i >= 0 {
			size = i
		}
	}
	return size
}

// isScheme reports whether a word is a scheme of the header Authorization that a secret follows.
func isScheme(word string) bool {
	for _, scheme := range []string{"bearer", "basic", "token", "negotiate", "apikey", "key"} {
		if strings.EqualFold(word, scheme) {
			return true
		}
	}
	return false
}

// disposition is what every part of a multipart body of a form begins with, in small letters.
const disposition = "content-disposition:"

// redactMultipart leaves out the content of the parts of a multipart body that is quoted in a text: files may be anything. The text may have it as it is, or with the
// ends of lines as escapes.
func redactMultipart(text string) string {
	var shown strings.Builder
	lower, kept := strings.ToLower(text), 0
	if len(lower) != len(text) {
		// A letter whose small form is longer or shorter. Names of headers have none.
		lower = text
	}
	for at := strings.Index(lower, disposition); at >= 0; {
		start, line := contentStart(text, at)
		if start < 0 {
			break
		}
		end := len(text)
		if i := strings.Index(text[start:], line+"--"); i >= 0 {
			end = start + i
		}
		if content := text[start:end]; !strings.HasPrefix(content, "[") || !strings.HasSuffix(content, " bytes]") {
			shown.WriteString(text[kept:start])
			shown.WriteString("[" + strconv.Itoa(len(content)) + " bytes]")
			kept = end
		}
		if at = strings.Index(lower[end:], disposition); at >= 0 {
			at += end
		}
	}
	if kept == 0 {
		return text
	}
	shown.WriteString(text[kept:])
	return shown.String()
}

// longestHead is how many bytes the headers of a part may have.
const longestHead = 4 << 10

// contentStart is where the headers of a part end, and what ends its lines; -1 if they don't.
func contentStart(text string, at int) (start int, line string) {
	start = -1
	text = text[:min(len(text), at+longestHead)]
	for _, ending := range []string{"\r\n", "\n", `\r\n`, `\n`} {
		if i := strings.Index(text[at:], ending+ending); i >= 0 && (start < 0 || at+i < start) {
			start, line = at+i+2*len(ending), ending
		}
	}
	return start, line
}
