package secret_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/tributaryhq/tributary/internal/secret"
)

// Both formats stay as they are: the values were made by another implementation, and rows like them are in databases.
func TestFormatsStay(t *testing.T) {
	ring := mustParse(t, "a.v2:"+key(1)+",a:"+key(1))
	for _, tt := range []struct {
		id, sealed string
		place      secret.Place
		want       error
	}{
		{"a", "AAECAwQFBgcICQoL09P7UkWMNJyY49GaNuUr4SBwcNvmPW4=", secret.Place{Row: []byte("row")}, nil},
		{"a", "AAECAwQFBgcICQoL09P7UkWMNJyY49GaNuUr4SBwcNvmPW4=", secret.Place{Row: []byte("row"), Version: 7}, nil},
		{"a", "AAECAwQFBgcICQoL09P7UkWMNJyY49GaNuUr4SBwcNvmPW4=", secret.Place{Row: []byte("other")}, secret.ErrOpen},
		{"a.v2", "AAECAwQFBgcICQoL09P7UkWMNJyY49GaNuUr4SBwcNvmPW4=", secret.Place{Row: []byte("row")}, secret.ErrOpen},
		{
			"a.v2", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgvSdy9fhscrujTymoZIGVPvr7itsznV+w==",
			secret.Place{Row: []byte("row"), Version: 7},
			nil,
		},
		{
			"a.v2", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgvSdy9fhscrujTymoZIGVPvr7itsznV+w==",
			secret.Place{Row: []byte("row"), Version: 8},
			secret.ErrOpen,
		},
		{
			"a", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgvSdy9fhscrujTymoZIGVPvr7itsznV+w==",
			secret.Place{Row: []byte("row"), Version: 7},
			secret.ErrOpen,
		},
	} {
		sealed, err := base64.StdEncoding.DecodeString(tt.sealed)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := ring.Open(tt.id, sealed, tt.place)
		if !errors.Is(err, tt.want) || err == nil && string(plain) != "hunter2" {
			t.Errorf("%s in %q, version %d: %q, %v; want %v", tt.id, tt.place.Row, tt.place.Version, plain, err, tt.want)
		}
	}
}

// Whatever is sealed opens in its place, and nowhere else, and not once it was changed.
func TestAnyBytesOpenOnlyInTheirPlace(t *testing.T) {
	for _, id := range []string{"a", "a.v2"} {
		ring := mustParse(t, id+":"+key(1))
		t.Run(id, rapid.MakeCheck(func(t *rapid.T) {
			plain := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "plain")
			row := rapid.SliceOfN(rapid.Byte(), 0, 40)
			place := secret.Place{Row: row.Draw(t, "row"), Version: rapid.Int64().Draw(t, "version")}
			keyID, sealed, err := ring.Seal(plain, place)
			if err != nil || keyID != id {
				t.Fatal(keyID, err)
			}
			if opened, err := ring.Open(keyID, sealed, place); err != nil || !bytes.Equal(opened, plain) {
				t.Fatalf("opened %q, %v", opened, err)
			}
			changed := slices.Clone(sealed)
			changed[rapid.IntRange(0, len(sealed)-1).Draw(t, "at")] ^= rapid.ByteRange(1, 255).Draw(t, "bits")
			if _, err := ring.Open(keyID, changed, place); !errors.Is(err, secret.ErrOpen) {
				t.Fatalf("changed: %v", err)
			}
			cut := sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "length")]
			if _, err := ring.Open(keyID, cut, place); !errors.Is(err, secret.ErrOpen) {
				t.Fatalf("cut: %v", err)
			}
			other := secret.Place{Row: row.Draw(t, "other row"), Version: rapid.Int64().Draw(t, "other version")}
			same := bytes.Equal(other.Row, place.Row) && (other.Version == place.Version || id == "a")
			if _, err := ring.Open(keyID, sealed, other); (err == nil) != same {
				t.Fatalf("in %v: %v", other, err)
			}
			moved := secret.Place{Row: place.Row, Version: place.Version + 1}
			if _, err := ring.Open(keyID, sealed, moved); (err == nil) != (id == "a") {
				t.Fatalf("under the next version: %v", err)
			}
		}))
	}
}

// Two values that say the same have nothing in common once they are sealed, salts and nonces included.
func TestSealedTwiceDiffers(t *testing.T) {
	ring := mustParse(t, "a.v2:"+key(1))
	_, one, err := ring.Seal(make([]byte, 64), secret.Place{})
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := ring.Seal(make([]byte, 64), secret.Place{})
	if err != nil {
		t.Fatal(err)
	}
	const window = 8
	for i := 0; i+window <= len(one); i++ {
		if bytes.Contains(two, one[i:i+window]) {
			t.Fatalf("both have the bytes from %d on", i)
		}
	}
}

// A process that has the new key, and seals with the old one still, works beside one that seals with the new key. A
// process without it says which key it lacks.
func TestFormatsSideBySide(t *testing.T) {
	before := mustParse(t, "a:"+key(1))
	ahead, after := mustParse(t, "a:"+key(1)+",b.v2:"+key(2)), mustParse(t, "b.v2:"+key(2)+",a:"+key(1))
	place := secret.Place{Row: []byte("row"), Version: 3}
	for _, from := range []*secret.Ring{before, ahead, after} {
		id, sealed, err := from.Seal([]byte("text"), place)
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []*secret.Ring{before, ahead, after} {
			plain, err := to.Open(id, sealed, place)
			if to == before && from == after {
				if !errors.Is(err, secret.ErrUnknownKey) || !strings.Contains(err.Error(), `"b.v2"`) {
					t.Errorf("without the new key: %v", err)
				}
				continue
			}
			if err != nil || string(plain) != "text" {
				t.Errorf("from %v to %v: %q, %v", from.IDs(), to.IDs(), plain, err)
			}
		}
	}
}

func TestUnknownFormatsAreRefused(t *testing.T) {
	for _, id := range []string{"a.v1", "a.v3", "a.v2.v2", ".v2", "a.", "a.v2x"} {
		if _, err := secret.ParseRing(id + ":" + key(1)); err == nil {
			t.Errorf("%s: accepted", id)
		}
	}
}

func TestSealsAreCounted(t *testing.T) {
	ring, registry := mustParse(t, "a.v2:"+key(1)+",b:"+key(2)), prometheus.NewPedanticRegistry()
	if err := ring.Register(registry); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := ring.Seal(nil, secret.Place{}); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf("# HELP tributary_secret_seals_total Values that this process has sealed, by the id of the key.\n"+
		"# TYPE tributary_secret_seals_total counter\ntributary_secret_seals_total{key=%q} 3\n", "a.v2")
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
