package contracts

// Redactor is implemented by providers whose requests or answers contain secrets beyond the ones that are always
// redacted. What it names is replaced before anything is stored, logged or traced.
//
// A field is a path of keys joined by dots, from the top of a JSON body: "card.number". The element * stands for every
// key of an object and every index of an array: "contacts.*.email". A path that leads nowhere changes nothing.
type Redactor interface {
	// SensitiveRequestFields are the paths to redact in request bodies.
	SensitiveRequestFields() []string
	// SensitiveResponseFields are the paths to redact in response bodies.
	SensitiveResponseFields() []string
}

// ResponseLogLimiter is implemented by providers with answers too large or too dull to be kept.
type ResponseLogLimiter interface {
	// UnloggedResponseEndpoints are patterns of paths whose response bodies are not stored, but their sizes are. The
	// character * stands for any text within one segment, and a verb with a colon may go before: "/files/*/content",
	// "GET:/export/*.csv".
	UnloggedResponseEndpoints() []string
}
