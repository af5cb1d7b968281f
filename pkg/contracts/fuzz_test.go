package contracts_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func FuzzMaxNumberKeysOrderAsNumbers(f *testing.F) {
	for _, pair := range [][2]string{
		{"0", "-0.0"},
		{"1", "10e-1"},
		{"-12", "-12.3"},
		{"9", "10"},
		{"0.001", "1e-3"},
		{"-1e-9", "1e-9"},
		{"9007199254740993", "9007199254740992"},
		{"1e300", "-1e300"},
		{"0e5", "0.00"},
		{"123456789012345678901234567890", "1.2e29"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, ok := exactNumber(a)
		y, okY := exactNumber(b)
		if !ok || !okY {
			t.Skip()
		}
		if want, got := x.Cmp(y), compareKeys(t, contracts.MaxNumber{}, a, b); want != got {
			t.Errorf("%s against %s: keys say %d, numbers say %d", a, b, got, want)
		}
	})
}

// exactNumber reads a JSON number as a fraction; exponents are kept small enough for that.
func exactNumber(text string) (*big.Rat, bool) {
	if !json.Valid([]byte(text)) || strings.Trim(text, "-+.eE0123456789") != "" {
		return nil, false
	}
	if _, exponent, _ := strings.Cut(strings.ToLower(text), "e"); len(exponent) > 4 {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

func FuzzMaxTimeKeysOrderAsInstants(f *testing.F) {
	f.Add("2024-03-01T10:00:00+01:00", "2024-03-01T09:00:00Z")
	f.Add("2024-03-01T09:00:00.1Z", "2024-03-01T09:00:00.10Z")
	f.Add("0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999999-23:59")
	f.Add("1969-12-31T23:59:59.9Z", "1970-01-01T00:00:00Z")
	f.Add("2024-03-01t09:00:00z", "2024-02-29T23:59:59.999-09:00")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := readTime(a), readTime(b)
		if x == nil || y == nil {
			t.Skip()
		}
		quoted := func(s string) string { return `"` + s + `"` }
		if want, got := x.Compare(*y), compareKeys(t, contracts.MaxTime{}, quoted(a), quoted(b)); want != got {
			t.Errorf("%s against %s: keys say %d, instants say %d", a, b, got, want)
		}
	})
}

// readTime reads timestamps of up to nanoseconds, which is where a time.Time ends, and only those that RFC 3339 allows and package time does too.
func readTime(text string) *time.Time {
	text = strings.ToUpper(text)
	if !timestamp().MatchString(text) {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return nil
	}
	return &t
}

func timestamp() *regexp.Regexp {
	return regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)
}

func compareKeys(t *testing.T, orderer contracts.CheckpointOrderer, a, b string) int {
	t.Helper()
	keyA, err := orderer.CheckpointKey(contracts.Checkpoint(a))
	if err != nil {
		t.Fatal(err)
	}
	keyB, err := orderer.CheckpointKey(contracts.Checkpoint(b))
	if err != nil {
		t.Fatal(err)
	}
	return cmp.Compare(keyA, keyB)
}

// anything reduces to the candidate, so that Advances tells whether the two are the same JSON value.
type anything struct{}

func (anything) ReduceCheckpoints(checkpoints []contracts.Checkpoint) (contracts.Cursor, error) {
	return contracts.Cursor(checkpoints[len(checkpoints)-1]), nil
}

func FuzzSameJSON(f *testing.F) {
	f.Add(`{"a":1,"b":[1,2,{"c":null}]}`)
	f.Add(`9007199254740993`)
	f.Add(`[true,"é",1.50e-7,-0]`)
	f.Add(`"\ud800"`)
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) || strings.TrimSpace(text) == "null" {
			t.Skip()
		}
		again := respell(t, text)
		advances, err := contracts.Advances(anything{}, contracts.Cursor(text), contracts.Cursor(again))
		if err != nil || advances {
			t.Errorf("%s and %s: %v, %v; want them the same", text, again, advances, err)
		}
		other := fmt.Sprintf(`[%s]`, text)
		advances, err = contracts.Advances(anything{}, contracts.Cursor(text), contracts.Cursor(other))
		if err != nil || !advances {
			t.Errorf("%s and %s: %v, %v; want them different", text, other, advances, err)
		}
	})
}

// respell writes a JSON text again: keys sorted, white space and escapes of its own.
func respell(t *testing.T, text string) string {
	t.Helper()
	var value any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Skip()
	}
	again, err := json.MarshalIndent(value, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return string(again)
}
