package foreign

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
)

const (
	// suspectExponent is how many digits an exponent has that may be beyond the limits.
	suspectExponent = 5
	// suspectWords is how many times eight digits in a row may be beyond the limits.
	suspectWords = maxFractionDigits / 8 / 2
)

// mayExceed reports whether a document may be beyond a limit. It errs on the side of true, which costs time and nothing else: it looks at eight bytes at a time, for
// nearly all documents are far from every limit.
func mayExceed(raw []byte) bool {
	if len(raw) > MaxDepth && bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) > MaxDepth {
		return true
	}
	var before uint64 // 0x80 if the byte before is a digit
	run, i := 0, 0
	for ; i+8 <= len(raw); i += 8 {
		word := binary.LittleEndian.Uint64(raw[i:])
		digits := digitsIn(word)
		if digits == tops {
			if run++; run >= suspectWords {
				return true
			}
		} else {
			run = 0
		}
		for at := exponentsIn(word) & (digits<<8 | before); at != 0; at &= at - 1 {
			if longExponent(raw[i+bits.TrailingZeros64(at)/8+1:]) {
				return true
			}
		}
		before = digits >> 56
	}
	for i = max(i, 1); i < len(raw); i++ {
		if raw[i]|0x20 == 'e' && isDigit(raw[i-1]) && longExponent(raw[i+1:]) {
			return true
		}
	}
	return false
}

const (
	ones = 0x0101010101010101
	tops = 0x80 * ones
	lows = 0x7f * ones
)

// digitsIn sets the top bit of every byte that is a decimal digit, and no other bit.
func digitsIn(word uint64) uint64 {
	x := word ^ '0'*ones
	return ^((x&lows + (0x7f-9)*ones) | x) & tops
}

// exponentsIn sets the top bit of every byte that is e or E, and no other bit.
func exponentsIn(word uint64) uint64 {
	x := (word | 0x20*ones) ^ 'e'*ones
	return ^((x&lows + lows) | x) & tops
}

// longExponent reports whether a text begins with an exponent that may be beyond what numeric holds.
func longExponent(text []byte) bool {
	if len(text) > 0 && (text[0] == '+' || text[0] == '-') {
		text = text[1:]
	}
	if len(text) < suspectExponent {
		return false
	}
	for _, c := range text[:suspectExponent] {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

// exceeds says which limit a document is beyond, if any. The document must be JSON.
func exceeds(raw []byte) error {
	depth := 0
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '"':
			i += stringSize(raw[i:])
			continue
		case c == '[' || c == '{':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("%w: it is nested deeper than %d levels", ErrUnstorable, MaxDepth)
			}
		case c == ']' || c == '}':
			depth--
		case c == '-' || isDigit(c):
			size := numberSize(raw[i:])
			if !isNumeric(raw[i : i+size]) {
				return fmt.Errorf("%w: the number %s is beyond what Postgres' numeric holds", ErrUnstorable, Clean(string(raw[i:i+size]), longestNumber))
			}
			i += size
			continue
		}
		i++
	}
	return nil
}

// longestNumber is how much of a number an error shows.
const longestNumber = 64

// stringSize is the length of the string, quotes included, that a text begins with.
func stringSize(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(text)
}

func numberSize(text []byte) int {
	for i, c := range text {
		if !isDigit(c) && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return i
		}
	}
	return len(text)
}

// isNumeric reports whether Postgres' numeric holds a number: its digits are counted before and behind the decimal point as they stand once the exponent has moved it.
func isNumeric(number []byte) bool {
	number = bytes.TrimPrefix(number, []byte("-"))
	exponent := 0
	if at := bytes.IndexAny(number, "eE"); at >= 0 {
		var err error
		if exponent, err = strconv.Atoi(string(number[at+1:])); err != nil || exponent > 2*maxIntegerDigits || exponent < -2*maxIntegerDigits {
			return false
		}
		number = number[:at]
	}
	whole, fraction, _ := bytes.Cut(number, []byte("."))
	if len(fraction)-exponent > maxFractionDigits {
		return false
	}
	// Leading zeros don't count.
	var leading int
	if significant := bytes.TrimLeft(whole, "0"); len(significant) > 0 {
		leading = len(significant)
	} else if significant := bytes.TrimLeft(fraction, "0"); len(significant) > 0 {
		leading = len(significant) - len(fraction)
	} else {
		return true
	}
	return leading+exponent <= maxIntegerDigits
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
