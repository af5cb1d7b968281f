package circuit

import "testing"

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Settings{
		"count:7": {Strategy: ByCount, Count: 7, Percent: 50}, "rate:30": {Strategy: ByRate, Count: 5, Percent: 30},
		"count": {}, "count:0": {}, "rate:101": {}, "rate:x": {}, "half": {}, "": {},
	} {
		got, err := Parse(text)
		if (err == nil) != (want.Strategy != "") || got.Strategy != want.Strategy || got.Count != want.Count ||
			got.Percent != want.Percent {
			t.Errorf("%q gives %+v, %v", text, got, err)
		}
	}
}
