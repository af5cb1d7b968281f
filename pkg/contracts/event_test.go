package contracts_test

import (
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// byPointer names itself through a pointer only; byContent by what is in it.
type (
	byPointer struct{}
	byContent struct{ kind string }
)

func (*byPointer) EventType() string  { return "pointer" }
func (b byContent) EventType() string { return b.kind }

func TestEventType(t *testing.T) {
	note, pointer := &Note{}, &byPointer{}
	tests := []struct {
		name  string
		event any
		want  string
	}{
		{"value", Note{}, "contracts_test.Note"},
		{"pointer", note, "contracts_test.Note"},
		{"pointer to a pointer", &note, "contracts_test.Note"},
		{"nil pointer", (*Note)(nil), "contracts_test.Note"},
		{"untyped nil", nil, ""},
		{"basic type", "text", "string"},
		{"own name", Ticket{}, "tickets.Ticket"},
		{"own name through a nil pointer", (*Ticket)(nil), "tickets.Ticket"},
		{"own name by content", &byContent{kind: "note"}, "note"},
		{"pointer receiver", pointer, "pointer"},
		{"pointer receiver, value", byPointer{}, "pointer"},
		{"pointer receiver, pointer to a pointer", &pointer, "pointer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := contracts.EventType(test.event); got != test.want {
				t.Errorf("EventType = %q, want %q", got, test.want)
			}
		})
	}
}

func TestAttemptTravelsInTheContext(t *testing.T) {
	if _, ok := contracts.AttemptFrom(t.Context()); ok {
		t.Error("there is an attempt outside a handler")
	}
	want := contracts.Attempt{Run: "r", Item: "i", ExternalID: "x", Try: 4, MaxTries: 5}
	got, ok := contracts.AttemptFrom(contracts.WithAttempt(t.Context(), want))
	if !ok || got != want || got.LastTry() {
		t.Errorf("AttemptFrom = %+v, %v", got, ok)
	}
}
