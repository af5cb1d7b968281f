package secret_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/secret"
)

func line(id string, fill byte) string {
	return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(fill), secret.KeyBytes)))
}

// vault unwraps what it has wrapped: the key's bytes reversed.
type vault struct{ asked []string }

func (v *vault) Unwrap(_ context.Context, keyID string, wrapped []byte) ([]byte, error) {
	v.asked = append(v.asked, keyID)
	if len(wrapped) == 1 {
		return nil, errors.New("access denied")
	}
	plain := slices.Clone(wrapped)
	slices.Reverse(plain)
	return plain, nil
}

func TestWrappedKeys(t *testing.T) {
	kms := &vault{}
	wrapped := "a:kms:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("z", secret.KeyBytes)))
	ring, err := secret.ParseWrapped(t.Context(), wrapped+","+line("b", 'b'), kms)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := secret.ParseRing(line("a", 'z'))
	if err != nil {
		t.Fatal(err)
	}
	id, sealed, err := ring.Seal([]byte("text"), secret.Place{})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := plain.Open(id, sealed, secret.Place{}); err != nil || string(text) != "text" {
		t.Errorf("opened %q, %v", text, err)
	}
	if len(kms.asked) != 1 || kms.asked[0] != "a" {
		t.Errorf("the KMS was asked for %v, want a, once", kms.asked)
	}
	for name, text := range map[string]string{
		"no KMS":    wrapped,
		"refused":   "a:kms:" + base64.StdEncoding.EncodeToString([]byte("x")),
		"not a key": "a:kms:" + base64.StdEncoding.EncodeToString([]byte("short")),
		"no base64": "a:kms:!",
	} {
		var asked secret.KMS = kms
		if name == "no KMS" {
			asked = nil
		}
		if _, err := secret.ParseWrapped(t.Context(), text, asked); err == nil || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignatures(t *testing.T) {
	old, err := secret.ParseRing(line("old", 'o'))
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := secret.ParseRing(line("new", 'n') + "," + line("old", 'o'))
	if err != nil {
		t.Fatal(err)
	}
	other, err := secret.ParseRing(line("old", 'x'))
	if err != nil {
		t.Fatal(err)
	}
	signature := old.Sign("link", []byte("text"))
	for _, tt := range []struct {
		name    string
		ring    *secret.Ring
		purpose string
		text    string
		want    bool
	}{
		{"the same", old, "link", "text", true},
		{"a rotated ring", rotated, "link", "text", true},
		{"another key", other, "link", "text", false},
		{"another purpose", old, "links", "text", false},
		{"another text", old, "link", "texts", false},
		{"a border moved", old, "lin", "k\x00text", false},
	} {
		if got := tt.ring.Verify(tt.purpose, []byte(tt.text), signature); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// A ring is read again when its file has changed, and stays as it was when that can't be read.
func TestLoadReadsAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".next", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".next", path); err != nil {
			t.Fatal(err)
		}
	}
	write(line("one", '1'))
	said := &strings.Builder{}
	ring, err := secret.Load(t.Context(), path, nil, slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	id, sealed, err := ring.Seal([]byte("text"), secret.Place{})
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !holds(); {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	write(line("two", '2') + "\n" + line("one", '1'))
	await("the new key does not seal", func() bool { return ring.Primary() == "two" })
	if text, err := ring.Open(id, sealed, secret.Place{}); err != nil || string(text) != "text" {
		t.Errorf("opened %q, %v", text, err)
	}
	write("garbage")
	await("nobody says that the ring can't be read", func() bool {
		return fmt.Sprint(ring.IDs()) == "[two one]" && strings.Contains(said.String(), "can't be read")
	})
	if strings.Contains(said.String(), "garbage") {
		t.Errorf("the log shows the ring: %s", said)
	}
	write(line("three", '3'))
	await("the ring is not read once it can be", func() bool { return ring.Primary() == "three" })
	if _, err := ring.Open(id, sealed, secret.Place{}); !errors.Is(err, secret.ErrUnknownKey) {
		t.Errorf("a key that is gone: %v", err)
	}
}
