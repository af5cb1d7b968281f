package dirlock_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/tributaryhq/tributary/internal/embedded/dirlock"
)

func TestSecondHolderIsRefusedUntilTheFirstLetsGo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "owner.lock")
	first, err := dirlock.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dirlock.Acquire(path); !errors.Is(err, dirlock.ErrHeld) {
		t.Fatalf("second Acquire: got %v, want ErrHeld", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := dirlock.Wait(path)
	if err != nil {
		t.Fatalf("after Release: %v", err)
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
}
