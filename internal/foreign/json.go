package foreign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// What a column of type jsonb holds, on every version of Postgres that is supported.
const (
	// MaxJSON is how many bytes a document may have.
	MaxJSON = 64 << 20
	// MaxDepth is how deep objects and lists may be nested. Postgres' own limit depends on its stack; this is far below the default's.
	MaxDepth = 1000
	// maxIntegerDigits and maxFractionDigits are the limits of Postgres' numeric: digits before and behind the decimal point.
	maxIntegerDigits  = 131072
	maxFractionDigits = 16383
)

// ErrUnstorable is wrapped by the errors for documents that Postgres does not take and that can't be changed without a loss.
var ErrUnstorable = errors.New("can't be stored")

// JSON is a document that a column of type jsonb takes. [ParseJSON] and [EncodedJSON] make one.
type JSON json.RawMessage

// String returns the document, for columns that are written as text.
func (j JSON) String() string { return string(j) }

// MarshalJSON writes the document as it is, and an absent one as null.
func (j JSON) MarshalJSON() ([]byte, error) { return json.RawMessage(j).MarshalJSON() }

// ParseJSON makes a document that Postgres takes of any bytes. U+FFFD stands for what JSON allows and Postgres has no place for: U+0000, half of a surrogate pair, a
// byte that is not UTF-8. The error wraps [ErrUnstorable] and says why: the bytes are not JSON, a number is beyond what numeric holds, or the document is too large or nested too deep. A document
// without any of this is returned as it is, without an allocation.
func ParseJSON(raw []byte) (JSON, error) {
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%w: it is not JSON", ErrUnstorable)
	}
	return EncodedJSON(raw)
}

// EncodedJSON is ParseJSON for bytes that are known to be JSON, such as what package json has encoded.
func EncodedJSON(raw []byte) (JSON, error) {
	if len(raw) > MaxJSON {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrUnstorable, len(raw), MaxJSON)
	}
	if mayExceed(raw) {
		if err := exceeds(raw); err != nil {
			return nil, err
		}
	}
	if !utf8.Valid(raw) {
		raw = bytes.ToValidUTF8(raw, []byte("\ufffd"))
	}
	return JSON(repairEscapes(raw)), nil
}

// repairEscapes replaces the escapes of U+0000 and of halves of surrogate pairs by that of U+FFFD.
func repairEscapes(raw []byte) []byte {
	var repaired []byte
	kept := 0
	for at := bytes.IndexByte(raw, '\\'); at >= 0 && at+1 < len(raw); {
		size, sound := escape(raw[at:])
		if !sound {
			repaired = append(append(repaired, raw[kept:at]...), `\ufffd`...)
			kept = at + size
		}
		next := bytes.IndexByte(raw[at+size:], '\\')
		if next < 0 {
			break
		}
		at += size + next
	}
	if repaired == nil {
		return raw
	}
	return append(repaired, raw[kept:]...)
}

// escape is the length of the escape that a text begins with, and whether jsonb has a place for it.
func escape(text []byte) (size int, sound bool) {
	if text[1] != 'u' || len(text) < len(`\u0000`) {
		return len(`\n`), true
	}
	size = len(`\u0000`)
	switch unit := unitOf(text); {
	case unit == 0:
		return size, false
	case unit < 0xd800 || unit >= 0xe000:
		return size, true
	case unit >= 0xdc00 || len(text) < 2*size || !bytes.HasPrefix(text[size:], []byte(`\u`)):
		return size, false
	}
	low := unitOf(text[size:])
	if low < 0xdc00 || low >= 0xe000 {
		return size, false
	}
	return 2 * size, true
}

// unitOf is the UTF-16 code unit of an escape.
func unitOf(text []byte) rune {
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(unit)
}
