package app_test

import (
	"slices"
	"testing"

	"github.com/tributaryhq/tributary/pkg/app"
)

// A port that dev took because the usual one was in use is the folder's from then on.
func TestPortsStayTheSame(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	const usual = 8080
	choose := func(taken ...int) int {
		port, err := app.ChoosePort(t.Context(), folder, usual, func(port int) bool { return !slices.Contains(taken, port) })
		if err != nil || port < 1 || slices.Contains(taken, port) {
			t.Fatalf("got port %d, %v, of which %v are taken", port, err, taken)
		}
		return port
	}
	first := choose(usual)
	if again := choose(); again != first {
		t.Errorf("the port was %d, and is %d though that is free", first, again)
	}
	if usualAgain := choose(first); usualAgain != usual {
		t.Errorf("got port %d, want the usual one", usualAgain)
	}
	if again := choose(first); again != usual {
		t.Errorf("got port %d, want the usual one again", again)
	}
}
