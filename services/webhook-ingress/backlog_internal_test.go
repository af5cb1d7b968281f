package webhookingress

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/bus"
)

// TestCrowding: the more providers nobody fetches from, the less each may take, and some room is always left.
func TestCrowding(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		bytes    int64
		messages map[string]uint64
		want     string
	}{
		"empty":                    {0, map[string]uint64{"a": 0, "b": 0}, ""},
		"one below its part":       {790, map[string]uint64{"a": 100, "b": 0}, ""},
		"one at its part":          {800, map[string]uint64{"a": 100, "b": 0}, "a"},
		"two below their part":     {880, map[string]uint64{"a": 50, "b": 50}, ""},
		"two at their part":        {890, map[string]uint64{"a": 50, "b": 50}, "a b"},
		"a small one beside":       {890, map[string]uint64{"a": 90, "b": 10}, "a"},
		"full":                     {1000, map[string]uint64{"a": 90, "b": 10}, "a b"},
		"the only one of a system": {1000, map[string]uint64{"a": 100}, ""},
	} {
		got := crowding(bus.Usage{Messages: 100, Bytes: test.bytes, Most: 1000}, test.messages)
		if names := strings.Join(slices.Sorted(maps.Keys(got)), " "); names != test.want {
			t.Errorf("%s: refused are %q, want %q", name, names, test.want)
		}
	}
}
