package api

import (
	"errors"
	"strings"
)

// Code is the kind of an error; a program decides by it.
type Code string

// The codes.
const (
	// Invalid: the request is wrong, and asking again won't help.
	Invalid Code = "invalid"
	// NotFound: what the request names does not exist.
	NotFound Code = "not_found"
	// Conflict: the name is taken, or somebody else changed the same thing first.
	Conflict Code = "conflict"
	// Refused: the request is right, but not now: a run is open, the integration is paused.
	Refused Code = "refused"
	// Unavailable: nobody answers, or Postgres is away. Asking again may help.
	Unavailable Code = "unavailable"
	// Internal: the scheduler failed; its log says why.
	Internal Code = "internal"
)

// Error is a request that was not carried out.
type Error struct {
	Code Code `json:"code"`
	// Message is a sentence for people.
	Message string `json:"message"`
	// Problems are the fields that are wrong, when it is about fields.
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is one field and what is wrong with it. It holds no value of the field.
type Problem struct {
	// Field is a path such as "credentials.token".
	Field string `json:"field"`
	// Message completes a sentence that begins with the field.
	Message string `json:"message"`
}

// Error is the message, and a line for every problem.
func (e *Error) Error() string {
	lines := []string{e.Message}
	for _, p := range e.Problems {
		lines = append(lines, "  "+p.Field+" "+p.Message)
	}
	return strings.Join(lines, "\n")
}

// CodeOf is the code of an error, and "" if it is none of the API's.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
