package redact

import (
	"strings"

	"github.com/tributaryhq/tributary/internal/foreign"
)

// redactPairs redacts the pairs of a query or a form: those with secret names, and those that the provider declares.
func redactPairs(text string, declared []path, found *findings) string {
	secret := func(name string) bool { return foreign.SecretName(name) || declares(declared, fieldPath(name)) }
	return foreign.RedactPairs(text, secret, found.addEscaped)
}

// fieldPath takes the name of a form's field apart: card[number] and card.number are the same path.
func fieldPath(name string) path {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '[' || r == ']' || r == '.' })
}
