package runs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFoldedPartsOfABatch are told again and again, each time with all that were told before: a late word of an earlier
// time takes none away.
func TestFoldedPartsOfABatch(t *testing.T) {
	t.Parallel()
	c := collector{reducer: nil}
	c.add(position{0, 3}, []byte("4"))
	c.addFolded(0, [][]byte{[]byte("1"), []byte("2")})
	c.addFolded(0, [][]byte{[]byte("1")})
	c.addFolded(0, [][]byte{[]byte("1"), []byte("2"), []byte("3")})
	c.addFolded(0, nil)
	var got []string
	for _, v := range c.finish() {
		got = append(got, string(v.checkpoint))
	}
	if diff := cmp.Diff([]string{"1", "2", "3", "4"}, got); diff != "" {
		t.Errorf("checkpoints (-want +got):\n%s", diff)
	}
}
