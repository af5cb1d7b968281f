package contracts

import (
	"math/big"
	"strconv"
	"strings"
)

// The first character of a number's key.
const (
	negativeKey = "0"
	zeroKey     = "1"
	positiveKey = "2"
)

// numberKey writes a JSON number so that greater numbers compare greater byte by byte and equal ones are equal. A
// positive number is 0.ddd × 10^e with the first d not 0: its key is a 2, e, and the digits, for of two numbers the
// greater e wins and then the greater digits. A negative number has the nines' complement of that, and at its end a
// character greater than all digits, for there fewer digits are the greater number.
func numberKey(number string) string {
	text, negative := strings.CutPrefix(number, "-")
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	leading := len(whole) + len(fraction) - len(digits)
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return zeroKey
	}
	e := exponentKey(exponent, len(whole)-leading)
	if negative {
		return negativeKey + complement(e+digits) + "~"
	}
	return positiveKey + e + digits
}

// exponentKey is the key of the sum of an exponent, as written and perhaps absent, and a small number.
func exponentKey(exponent string, n int) string {
	if exponent == "" {
		return integerKey(strconv.Itoa(n))
	}
	e, _ := new(big.Int).SetString(exponent, 10) // a JSON number's exponent is one
	return integerKey(e.Add(e, big.NewInt(int64(n))).String())
}

// integerKey writes an integer so that greater ones compare greater and none is the beginning of another: a sign, how
// many digits the number of digits has, the number of digits, the digits; all complemented below zero.
func integerKey(integer string) string {
	digits, negative := strings.CutPrefix(integer, "-")
	length := strconv.Itoa(len(digits))
	if negative {
		return "0" + complement(strconv.Itoa(len(length))+length+digits)
	}
	return "1" + strconv.Itoa(len(length)) + length + digits
}

// complement replaces every digit by what it lacks to nine, which turns the order around.
func complement(digits string) string {
	b := []byte(digits)
	for i, d := range b {
		b[i] = '0' + '9' - d
	}
	return string(b)
}
