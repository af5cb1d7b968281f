package checkpoint_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/checkpoint"
)

func TestKeyRoundTrip(t *testing.T) {
	for text, key := range map[string]checkpoint.Key{
		"r.1.0":                       {Run: "r", Attempt: 1, Batch: 0, Index: checkpoint.First},
		"r.1.0.0":                     {Run: "r", Attempt: 1, Batch: 0, Index: 0},
		"r-2.10.200.255":              {Run: "r-2", Attempt: 10, Batch: 200, Index: 255},
		"r.2147483647.2147483647.1":   {Run: "r", Attempt: math.MaxInt32, Batch: math.MaxInt32, Index: 1},
		"0198c0de-0000-7000-8000.3.4": {Run: "0198c0de-0000-7000-8000", Attempt: 3, Batch: 4, Index: checkpoint.First},
	} {
		if key.String() != text {
			t.Errorf("%+v is written %q, want %q", key, key.String(), text)
		}
		got, total, err := checkpoint.ParseKey(text)
		if err != nil || total {
			t.Errorf("%q: total %t, error %v", text, total, err)
		}
		if diff := cmp.Diff(key, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseKeyOfATotal(t *testing.T) {
	got, total, err := checkpoint.ParseKey("r.2.total")
	if err != nil || !total || got.Run != "r" || got.Attempt != 2 {
		t.Errorf("got %+v, total %t, error %v", got, total, err)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, text := range []string{
		"", "r", "r.1", "r.1.2.3.4", ".1.2", "r.x.2", "r.1.x", "r.1.2.x", "r.1.total.2", "r.-1.2", "r.1.-2", "r.1.2.-1", "r.01.2", "r.1.+2", "r.1.2147483648", "r.1.", "r.1.2.",
	} {
		if key, _, err := checkpoint.ParseKey(text); err == nil {
			t.Errorf("%q is read as %+v", text, key)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("r.1.2.3")
	f.Add("r.1.total")
	f.Add("r.007.-1")
	f.Fuzz(func(t *testing.T, text string) {
		key, total, err := checkpoint.ParseKey(text)
		if err == nil && !total && key.String() != text {
			t.Errorf("%q is read as %+v, which is written %q", text, key, key.String())
		}
	})
}
