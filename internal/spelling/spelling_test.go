package spelling_test

import (
	"testing"

	"github.com/tributaryhq/tributary/internal/spelling"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"github", "stripe", "é"}
	for word, want := range map[string]string{
		"gihtub": "github", "GitHub": "github", "strip": "stripe", "zendesk": "", "": "", "x": "",
	} {
		if got, ok := spelling.Nearest(word, known); got != want || ok != (want != "") {
			t.Errorf("%q is taken for %q, %v; want %q", word, got, ok, want)
		}
	}
	if d := spelling.Distance("é", "e"); d != 1 {
		t.Errorf("a letter of two bytes counts as %d", d)
	}
}
