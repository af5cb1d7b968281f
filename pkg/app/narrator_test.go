package app

import (
	"bytes"
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
