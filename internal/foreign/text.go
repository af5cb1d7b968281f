// Package foreign is the door for text and JSON that the product did not write itself: what providers, handlers,
// upstreams and operators say. What has come through it can be stored in Postgres, encoded as a message, written to a
// log and shown on a terminal, whatever it was before.
package foreign

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"unicode/utf8"
)

// The limits of kinds of text, in bytes.
const (
	// MaxError is how much of an error's text is kept.
	MaxError = 1000
	// MaxWord is how long a name may be: an event type, an ordering key.
	MaxWord = 200
)

// Text is foreign text that has been cleaned: valid UTF-8 without control characters other than tabs and line ends,
// and no longer than its limit. [Clean], [Of], [Line], [Word] and [Key] make one. A constant is one too. Nothing else
// is converted to it, which a test of the architecture makes sure of.
type Text string

// Clean makes a text of at most that many bytes. U+FFFD stands for bytes that are not UTF-8 and for control
// characters, U+0000 among them. A text that is cut ends with a mark that says how long it was. A clean text is
// returned as it is, without an allocation.
func Clean(text string, most int) Text {
	if len(text) <= most && isClean(text) {
		return Text(text)
	}
	return clean(text, most)
}

// Of is the text of an error, redacted, or nothing for nil.
func Of(err error) Text {
	if err == nil {
		return ""
	}
	return Line(err.Error())
}

// Line is a text for people, such as a reason, redacted by [Redact].
func Line(text string) Text { return Clean(Redact(text), MaxError) }

// Word is a name, such as an event type.
func Word(text string) Text { return Clean(text, MaxWord) }

// Key is a text by which things are told apart. What is too long or not clean is replaced by its hash, so that two
// different texts stay different.
func Key(text string) Text {
	if len(text) <= MaxWord && isClean(text) {
		return Text(text)
	}
	sum := sha256.Sum256([]byte(text))
	return Text("sha256:" + hex.EncodeToString(sum[:]))
}

// String returns the text, for fields that take strings.
func (t Text) String() string { return string(t) }

// LogValue lets log handlers treat the text as the string it is.
func (t Text) LogValue() slog.Value { return slog.StringValue(string(t)) }

// isClean reports whether nothing has to be replaced.
func isClean(text string) bool {
	ascii := true
	for i := 0; i < len(text); i++ {
		if isControl(text[i]) {
			return false
		}
		ascii = ascii && text[i] < utf8.RuneSelf
	}
	return ascii || validRunes(text)
}

// validRunes is isClean for what is not ASCII.
func validRunes(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if isControlRune(r) {
			return false
		}
	}
	return true
}

// isControl reports whether a byte is a control character that terminals obey or databases refuse.
func isControl(c byte) bool { return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f }

// isControlRune is isControl for the control characters beyond ASCII.
func isControlRune(r rune) bool {
	return r < utf8.RuneSelf && isControl(byte(r)) || r >= 0x80 && r < 0xa0
}

func clean(text string, most int) Text {
	mark := markOf(len(text), most)
	kept := make([]byte, 0, min(len(text), most)+utf8.UTFMax)
	// fits is how much of what is kept leaves room for the mark.
	fits := 0
	for _, r := range text {
		if isControlRune(r) {
			r = utf8.RuneError
		}
		if len(kept)+utf8.RuneLen(r) > most {
			return Text(append(kept[:fits], mark...))
		}
		kept = utf8.AppendRune(kept, r)
		if len(kept)+len(mark) <= most {
			fits = len(kept)
		}
	}
	return Text(kept)
}

// markOf is what a cut text ends with: a mark that takes less than half of it.
func markOf(size, most int) string {
	for _, mark := range []string{fmt.Sprintf("… [cut, %d bytes]", size), "…"} {
		if 2*len(mark) < most {
			return mark
		}
	}
	return ""
}
