package contracts_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

type maxReducer interface {
	ReduceCheckpoints(checkpoints []contracts.Checkpoint) (contracts.Cursor, error)
	CheckpointKey(c contracts.Checkpoint) (string, error)
}

// checkpoints makes checkpoints of JSON texts; an empty text is an absent one.
func checkpoints(texts ...string) []contracts.Checkpoint {
	var all []contracts.Checkpoint
	for _, text := range texts {
		if text == "" {
			all = append(all, nil)
			continue
		}
		all = append(all, contracts.Checkpoint(text))
	}
	return all
}

func TestMaxReducesToTheGreatest(t *testing.T) {
	huge := strings.Repeat("9", 400)
	tests := []struct {
		name    string
		reducer maxReducer
		in      []string
		want    string
	}{
		{"time: offsets are instants", contracts.MaxTime{}, []string{
			`"2024-03-01T10:00:00+02:00"`,
			`"2024-03-01T09:00:00Z"`,
		}, `"2024-03-01T09:00:00Z"`},
		{
			"time: precision",
			contracts.MaxTime{},
			[]string{`"2024-03-01T09:00:00Z"`, `"2024-03-01T09:00:00.5Z"`},
			`"2024-03-01T09:00:00.5Z"`,
		},
		{"time: below a nanosecond", contracts.MaxTime{}, []string{
			`"2024-03-01T09:00:00.1234567890012Z"`,
			`"2024-03-01T09:00:00.1234567890013Z"`,
		}, `"2024-03-01T09:00:00.1234567890013Z"`},
		{
			"time: lower case",
			contracts.MaxTime{},
			[]string{`"2024-03-01t09:00:00z"`, `"2024-03-01T08:00:00Z"`},
			`"2024-03-01t09:00:00z"`,
		},
		{
			"time: before the year 0",
			contracts.MaxTime{},
			[]string{`"0000-01-01T00:00:00+01:00"`, `"0000-01-01T00:00:00Z"`},
			`"0000-01-01T00:00:00Z"`,
		},
		{
			"time: after the year 9999",
			contracts.MaxTime{},
			[]string{`"9999-12-31T23:59:59-12:00"`, `"9999-12-31T23:59:59Z"`},
			`"9999-12-31T23:59:59-12:00"`,
		},
		{"time: absent ones are passed over", contracts.MaxTime{}, []string{
			"", `"2024-03-01T09:00:00Z"`, "null",
			" null ",
		}, `"2024-03-01T09:00:00Z"`},
		{"string: as text", contracts.MaxString{}, []string{`"9"`, `"10"`}, `"9"`},
		{"string: escapes are read", contracts.MaxString{}, []string{`"a"`, `"\u0062"`}, `"\u0062"`},
		{"string: empty is a value", contracts.MaxString{}, []string{"", `""`}, `""`},
		{"number: not as text", contracts.MaxNumber{}, []string{`9`, `10`}, `10`},
		{
			"number: beyond 2^53",
			contracts.MaxNumber{},
			[]string{`9007199254740993`, `9007199254740992`},
			`9007199254740993`,
		},
		{"number: hundreds of digits", contracts.MaxNumber{}, []string{huge, huge + ".5", "1" + huge}, "1" + huge},
		{"number: exponents", contracts.MaxNumber{}, []string{`2e3`, `1999.999`, `2000.0001`}, `2000.0001`},
		{
			"number: exponents beyond int64",
			contracts.MaxNumber{},
			[]string{`1e99999999999999999999`, `9e99999999999999999998`},
			`1e99999999999999999999`,
		},
		{
			"number: tiny",
			contracts.MaxNumber{},
			[]string{`1e-99999999999999999999`, `0`, `-1`},
			`1e-99999999999999999999`,
		},
		{"number: negative", contracts.MaxNumber{}, []string{`-10`, `-9`, `-9.5`, `-1e5`}, `-9`},
		{"number: minus zero is zero", contracts.MaxNumber{}, []string{`-0`, `-1`}, `-0`},
		{"number: bytes are kept", contracts.MaxNumber{}, []string{`1`, ` 1.50e0 `}, ` 1.50e0 `},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forwards := checkpoints(test.in...)
			backwards := make([]contracts.Checkpoint, 0, len(forwards))
			for i := range forwards {
				backwards = append(backwards, forwards[len(forwards)-1-i])
			}
			for _, order := range [][]contracts.Checkpoint{forwards, backwards} {
				got, err := test.reducer.ReduceCheckpoints(order)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, string(got)); diff != "" {
					t.Errorf("reduced (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestMaxOfNothingIsNoCursor(t *testing.T) {
	for _, reducer := range []maxReducer{contracts.MaxTime{}, contracts.MaxString{}, contracts.MaxNumber{}} {
		for _, in := range [][]contracts.Checkpoint{nil, checkpoints("", ""), checkpoints("null", "")} {
			got, err := reducer.ReduceCheckpoints(in)
			if got != nil || err != nil {
				t.Errorf("%T of %q = %q, %v; want no cursor", reducer, in, got, err)
			}
		}
		if key, err := reducer.CheckpointKey(nil); key != "" || err != nil {
			t.Errorf("%T key of an absent checkpoint = %q, %v", reducer, key, err)
		}
	}
}

func TestMaxOfEqualValuesDoesNotDependOnOrder(t *testing.T) {
	tests := []struct {
		reducer maxReducer
		a, b    string
	}{
		{contracts.MaxTime{}, `"2024-03-01T10:00:00+01:00"`, `"2024-03-01T09:00:00.000Z"`},
		{contracts.MaxString{}, `"b"`, `"\u0062"`},
		{contracts.MaxNumber{}, `100`, `1.0e2`},
	}
	for _, test := range tests {
		ab, errAB := test.reducer.ReduceCheckpoints(checkpoints(test.a, test.b))
		ba, errBA := test.reducer.ReduceCheckpoints(checkpoints(test.b, test.a))
		if errAB != nil || errBA != nil || string(ab) != string(ba) {
			t.Errorf("%T: %s, %v and %s, %v", test.reducer, ab, errAB, ba, errBA)
		}
		keyA, _ := test.reducer.CheckpointKey(contracts.Checkpoint(test.a))
		keyB, _ := test.reducer.CheckpointKey(contracts.Checkpoint(test.b))
		if keyA != keyB {
			t.Errorf("%T: keys of %s and %s are %q and %q", test.reducer, test.a, test.b, keyA, keyB)
		}
	}
}

func TestMaxRefusesOtherKinds(t *testing.T) {
	tests := []struct {
		name    string
		reducer maxReducer
		value   string
		want    string
	}{
		{
			"a date",
			contracts.MaxTime{},
			`"2024-03-01"`,
			"checkpoint 2 of 2: `\"2024-03-01\"` is not an RFC 3339 timestamp",
		},
		{
			"a Unix time",
			contracts.MaxTime{},
			`1709280000`,
			"checkpoint 2 of 2: `1709280000` is not an RFC 3339 timestamp",
		},
		{
			"a comma",
			contracts.MaxTime{},
			`"2024-03-01T09:00:00,5Z"`,
			"checkpoint 2 of 2: `\"2024-03-01T09:00:00,5Z\"` is not an RFC 3339 timestamp",
		},
		{
			"a one-digit hour",
			contracts.MaxTime{},
			`"2024-03-01T9:00:00Z"`,
			"checkpoint 2 of 2: `\"2024-03-01T9:00:00Z\"` is not an RFC 3339 timestamp",
		},
		{
			"a one-digit hour and a fraction",
			contracts.MaxTime{},
			`"2024-03-01T9:00:00.5Z"`,
			"checkpoint 2 of 2: `\"2024-03-01T9:00:00.5Z\"` is not an RFC 3339 timestamp",
		},
		{
			"an offset of a day",
			contracts.MaxTime{},
			`"2024-03-01T09:00:00+24:00"`,
			"checkpoint 2 of 2: `\"2024-03-01T09:00:00+24:00\"` is not an RFC 3339 timestamp",
		},
		{
			"no offset",
			contracts.MaxTime{},
			`"2024-03-01T09:00:00.5"`,
			"checkpoint 2 of 2: `\"2024-03-01T09:00:00.5\"` is not an RFC 3339 timestamp",
		},
		{
			"no fraction after the point",
			contracts.MaxTime{},
			`"2024-03-01T09:00:00.Z"`,
			"checkpoint 2 of 2: `\"2024-03-01T09:00:00.Z\"` is not an RFC 3339 timestamp",
		},
		{
			"the 30th of February",
			contracts.MaxTime{},
			`"2024-02-30T09:00:00Z"`,
			"checkpoint 2 of 2: `\"2024-02-30T09:00:00Z\"` is not an RFC 3339 timestamp",
		},
		{"a number", contracts.MaxString{}, `12`, "checkpoint 2 of 2: `12` is not a string"},
		{"a number in a string", contracts.MaxNumber{}, `"12"`, "checkpoint 2 of 2: `\"12\"` is not a number"},
		{"an object", contracts.MaxNumber{}, `{"id":1}`, "checkpoint 2 of 2: `{\"id\":1}` is not a number"},
		{"not JSON", contracts.MaxNumber{}, `012`, "checkpoint 2 of 2: `012` is not a number"},
		{
			"a long one",
			contracts.MaxNumber{},
			`"` + strings.Repeat("a", 100) + `"`,
			"checkpoint 2 of 2: `\"" + strings.Repeat("a", 63) + "`… is not a number",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.reducer.ReduceCheckpoints(checkpoints("", test.value))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGreatestIntegerHasTheGreatestKey compares what a reducer takes of many numbers with the order of their keys.
func TestGreatestIntegerHasTheGreatestKey(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		checkpoints := []contracts.Checkpoint{nil}
		greatest := ""
		for range random.IntN(6) {
			c := contracts.Checkpoint(strconv.FormatUint(random.Uint64()>>random.IntN(64), 10) + []string{
				"", "", "",
				".5", "e1",
			}[random.IntN(5)])
			key, err := contracts.MaxNumber{}.CheckpointKey(c)
			if err != nil {
				t.Fatalf("%s: %v", c, err)
			}
			checkpoints, greatest = append(checkpoints, c), max(greatest, key)
		}
		best, err := contracts.MaxNumber{}.ReduceCheckpoints(checkpoints)
		if err != nil {
			t.Fatalf("%q: %v", checkpoints, err)
		}
		if key, err := (contracts.MaxNumber{}).CheckpointKey(contracts.Checkpoint(best)); err != nil ||
			key != greatest {
			t.Errorf("of %q the reducer takes %s, %v", checkpoints, best, err)
		}
	}
}

func TestMaxTimeRefusesTheDistantFuture(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct{ value, says string }{
		{"", ""},
		{"null", ""},
		{`"2026-11-27T12:00:00Z"`, ""},
		{`"0000-01-01T00:00:00Z"`, ""},
		{`"2026-11-28T13:00:00Z"`, ""},
		{`"2026-11-28T13:00:01Z"`, "in the future"},
		{`"2026-11-29T02:59:59+14:00"`, ""},
		{`"2026-11-28T01:00:01-12:00"`, "in the future"},
		{`"9999-12-31T23:59:59Z"`, `"9999-12-31T23:59:59Z"`},
		{`"9999-12-31"`, "`\"9999-12-31\"` is not an RFC 3339 timestamp"},
		{`"58871-01-12T00:00:00Z"`, "not an RFC 3339"},
		{`1795780800000`, "not an RFC 3339"},
	} {
		err := contracts.MaxTime{}.CheckCheckpoint(contracts.Checkpoint(test.value), now)
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", test.value, err, test.says)
		}
	}
}

func BenchmarkMaxTimeCheck(b *testing.B) {
	c := contracts.Checkpoint(`"2026-11-27T12:00:00.123456Z"`)
	now := time.Now()
	for b.Loop() {
		if err := (contracts.MaxTime{}).CheckCheckpoint(c, now); err != nil {
			b.Fatal(err)
		}
	}
}
