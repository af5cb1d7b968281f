package foreign

import (
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
