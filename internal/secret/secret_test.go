package secret_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/tributaryhq/tributary/internal/secret"
)

func key(fill byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, secret.KeyBytes))
}

func mustParse(t *testing.T, text string) *secret.Ring {
	t.Helper()
	ring, err := secret.ParseRing(text)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestSealedOpensOnlyInItsPlace(t *testing.T) {
	ring := mustParse(t, "a:"+key(1))
	row1, row2 := secret.Place{Row: []byte("row 1")}, secret.Place{Row: []byte("row 2")}
	id, sealed, err := ring.Seal([]byte(`{"token":"hunter2"}`), row1)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Fatal("sealed value holds the secret")
	}
	plain, err := ring.Open(id, sealed, row1)
	if err != nil || string(plain) != `{"token":"hunter2"}` {
		t.Fatalf("Open = %q, %v", plain, err)
	}
	if _, err := ring.Open(id, sealed, row2); !errors.Is(err, secret.ErrOpen) {
		t.Errorf("moved to another row: %v, want ErrOpen", err)
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := ring.Open(id, sealed, row1); !errors.Is(err, secret.ErrOpen) {
		t.Errorf("changed: %v, want ErrOpen", err)
	}
}

func TestRotation(t *testing.T) {
	old := mustParse(t, "a:"+key(1))
	id, sealed, err := old.Seal([]byte("x"), secret.Place{})
	if err != nil {
		t.Fatal(err)
	}
	rotated := mustParse(t, "b:"+key(2)+",a:"+key(1))
	if plain, err := rotated.Open(id, sealed, secret.Place{}); err != nil || string(plain) != "x" {
		t.Fatalf("old value under the new ring: %q, %v", plain, err)
	}
	if id, _, _ := rotated.Seal([]byte("x"), secret.Place{}); id != "b" {
		t.Errorf("sealed with %q, want the first key", id)
	}
	without := mustParse(t, "b:"+key(2))
	if _, err := without.Open(id, sealed, secret.Place{}); !errors.Is(err, secret.ErrUnknownKey) {
		t.Errorf("key removed: %v, want ErrUnknownKey", err)
	}
}

func TestParseRingRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":   "",
		"no id":     key(1),
		"short key": "a:" + base64.StdEncoding.EncodeToString([]byte("short")),
		"twice":     "a:" + key(1) + ",a:" + key(2),
		"bad id":    "a/b:" + key(1),
	} {
		if _, err := secret.ParseRing(text); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), key(1)) {
			t.Errorf("%s: the error shows a key", name)
		}
	}
}

func TestLoadOrCreateIsTheSameForAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets", "keys")
	rings := make([]*secret.Ring, 8)
	var wait sync.WaitGroup
	for i := range rings {
		wait.Go(func() {
			ring, err := secret.LoadOrCreate(path, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			rings[i] = ring
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	if !regexp.MustCompile(`^dev-[0-9a-f]{8}\.v2$`).MatchString(rings[0].Primary()) {
		t.Errorf("the new key is %q; want one of the second format", rings[0].Primary())
	}
	id, sealed, err := rings[0].Seal([]byte("x"), secret.Place{})
	if err != nil {
		t.Fatal(err)
	}
	for i, ring := range rings {
		if _, err := ring.Open(id, sealed, secret.Place{}); err != nil {
			t.Errorf("ring %d: %v", i, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
}
