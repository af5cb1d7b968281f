package contracts

import (
	"encoding/json"
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

// numberKey writes a JSON number so that greater numbers compare greater byte by byte and equal ones are equal. A positive number is 0.ddd × 10^e
// with the first d not 0: its key is a 2, e, and the digits, for of two numbers the greater e wins and then the greater digits. A negative number has the nines'
// complement of that, and at its end a character greater than all digits, for there fewer digits are the greater number.
func numberKey(number json.Number) string {
	text, negative := strings.CutPrefix(string(number), "-")
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	leading := len(whole) + len(fraction) - len(digits)
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return zeroKey
	}
	e, _ := new(big.Int).SetString(exponent, 10) // absent: nil, as "" is no number
	if e == nil {
		e = new(big.Int)
	}
	e.Add(e, big.NewInt(int64(len(whole)-leading)))
	body := integerKey(e) + digits
	if negative {
		return negativeKey + complement(body) + "~"
	}
	return positiveKey + body
}

// integerKey writes an integer so that greater ones compare greater and none is the beginning of another: a sign, how many digits the
// number of digits has, the number of digits, the digits; all complemented below zero.
func integerKey(i *big.Int) string {
	digits := new(big.Int).Abs(i).String()
	length := strconv.Itoa(len(digits))
	body := strconv.Itoa(len(length)) + length + digits
	if i.Sign() < 0 {
		return "0" + complement(body)
	}
	return "1" + body
}

// complement replaces every digit by what it lacks to nine, which turns the order around.
func complement(digits string) string {
	b := []byte(digits)
	for i, d := range b {
		b[i] = '0' + '9' - d
	}
	return string(b)
}
