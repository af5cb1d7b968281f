package app

import (
	"bytes"
	"strings"
	"testing"
)

// TestNarratorWritesNothingButText has an upstream's id hold what a terminal would carry out.
func TestNarratorWritesNothingButText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	(&narrator{out: &out}).say("dead       %s: %s", "pe\x1b[31mr\nid", "broken\r\x07")
	if got, want := out.String(), "dead       pe [31mr id: broken  \n"; got != want {
		t.Errorf("it writes %q, want %q", got, want)
	}
}

// TestNarratorSaysTheBeginning has texts from elsewhere be long. What the narrator has to say after them is said.
func TestNarratorSaysTheBeginning(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	(&narrator{out: &out}).say("dead       %s: %s; see: tributary items dead", strings.Repeat("é", 1000), strings.Repeat("x", mostSaid))
	want := "dead       " + strings.Repeat("é", mostSaid-1) + "…: " + strings.Repeat("x", mostSaid) + "; see: tributary items dead\n"
	if got := out.String(); got != want {
		t.Errorf("it writes %q, want %q", got, want)
	}
}
