package circuit

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestTally(t *testing.T) {
	t.Parallel()
	byRate, byCount := DefaultSettings(), DefaultSettings()
	byCount.Strategy = ByCount
	for _, test := range []struct {
		name     string
		settings Settings
		// outcomes are F for a failure, . for an answer, and a digit for so many times ten seconds that pass.
		outcomes string
		opens    bool
	}{
		{"too few", byRate, "FFFFFFFFF", false},
		{"ten failures", byRate, "FFFFFFFFFF", true},
		{"half of them", byRate, ".....FFFFF", true},
		{"less than half", byRate, "......FFFF", false},
		{"a success never opens", byRate, "FFFFFFFFF.", false},
		{"but the next failure does", byRate, "FFFFFFFFF.F", true},
		{"what was long ago does not count", byRate, "FFFFFFFFF7F", false},
		{"what was lately does", byRate, "FFFFF3FFFF2F", true},
		{"five on end", byCount, "FFFFF", true},
		{"four on end", byCount, "FFFF.FFFF", false},
		{"however slow", byCount, "F9F9F9F9F", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var counted tally
			now := noon
			for i, r := range test.outcomes {
				if r >= '0' && r <= '9' {
					now = now.Add(time.Duration(r-'0') * 10 * time.Second)
					continue
				}
				opens := counted.add(test.settings, 1, r == 'F', now)
				if last := i == len(test.outcomes)-1; opens != (last && test.opens) {
					t.Errorf("after %s it opens: %t", test.outcomes[:i+1], opens)
				}
			}
			if counted.add(test.settings, 2, true, now) {
				t.Error("what was before the circuit was open counts after it")
			}
		})
	}
}

func BenchmarkTally(b *testing.B) {
	var counted tally
	settings := DefaultSettings()
	settings.Floor = 1 << 30
	for i, outcome := 0, strings.Repeat("F.", 50); b.Loop(); i++ {
		counted.add(settings, 1, outcome[i%len(outcome)] == 'F', noon.Add(time.Duration(i)*time.Millisecond))
	}
}
