package foreign_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/foreign"
)

func TestParseJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ raw, want string }{
		"plain":                        {`{"a":[1,2.5,"x",null,true]}`, `{"a":[1,2.5,"x",null,true]}`},
		"half a pair":                  {`{"body":"cut \ud83d"}`, `{"body":"cut \ufffd"}`},
		"the other half":               {`"\ude00!"`, `"\ufffd!"`},
		"halves in the wrong order":    {`"\ude00\ud83d"`, `"\ufffd\ufffd"`},
		"two first halves":             {`"\ud83d\ud83d\ude00"`, `"\ufffd\ud83d\ude00"`},
		"half before another escape":   {`"\ud83d\u0041"`, `"\ufffd\u0041"`},
		"half before a short escape":   {`"\ud83d\n\ud83d"`, `"\ufffd\n\ufffd"`},
		"half in a key":                {`{"\uD83D":1}`, `{"\ufffd":1}`},
		"a whole pair":                 {`"\ud83d\ude00"`, `"\ud83d\ude00"`},
		"zero":                         {`"a\u0000b"`, `"a\ufffdb"`},
		"an escaped backslash before":  {`"a\\u0000b\\ud83d"`, `"a\\u0000b\\ud83d"`},
		"Latin-1":                      {"\"acc\xe8s\"", "\"acc\ufffds\""},
		"a surrogate in UTF-8":         {"\"\xed\xa0\xbd\"", "\"\ufffd\""},
		"a byte cut before a quote":    {"{\"a\":\"\xe2\"}", "{\"a\":\"\ufffd\"}"},
		"everything at once":           {"[\"\xff\\u0000\",\"\\udead\"]", "[\"\ufffd\\ufffd\",\"\\ufffd\"]"},
		"a number at the limit":        {`1e131071`, `1e131071`},
		"an exponent inside of a text": {`"1e999999"`, `"1e999999"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := foreign.ParseJSON([]byte(c.raw))
			if err != nil || got.String() != c.want {
				t.Errorf("ParseJSON(%q) = %q, %v, want %q", c.raw, got, err, c.want)
			}
		})
	}
}

func TestUnstorable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ raw, why string }{
		"not JSON":                  {`{"a":`, "not JSON"},
		"nothing":                   {``, "not JSON"},
		"too large a number":        {`{"n":1e400000}`, "the number 1e400000 is beyond"},
		"too small a number":        {`[1.5E-16384]`, "beyond"},
		"an exponent beyond int":    {`[1e99999999999999999999]`, "beyond"},
		"too many digits":           {strings.Repeat("9", 131073), "beyond"},
		"too long a fraction":       {"0." + strings.Repeat("1", 16384), "beyond"},
		"behind a text with quotes": {`{"a\"":"\\","b":-1e131073}`, "beyond"},
		"too deep":                  {strings.Repeat("[", 1001) + strings.Repeat("]", 1001), "deeper than 1000"},
		"too large":                 {`"` + strings.Repeat("a", foreign.MaxJSON) + `"`, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := foreign.ParseJSON([]byte(c.raw))
			if !errors.Is(err, foreign.ErrUnstorable) || !strings.Contains(err.Error(), c.why) || len(err.Error()) > 200 {
				t.Errorf("ParseJSON = %.100q, %.300v, want an error with %q", got, err, c.why)
			}
		})
	}
}

// TestPostgresTakes asks Postgres about documents at every limit and with every kind of escape: what passes the door it takes, and what the door refuses for its numbers it
// refuses.
func TestPostgresTakes(t *testing.T) {
	t.Parallel()
	db := pgtest.DB(t)
	ask := func(raw string) error {
		_, err := db.Exec(t.Context(), "select $1::jsonb", raw)
		return err
	}
	numbers := []string{
		"0", "-0", "0.0", "0e5", "0e-5", "1", "-1.5e3", "1e131070", "1e131071", "1e131072", "1e131073", "10e131070", "10e131071", "0.1e131072", "0.1e131073",
		"0.01e131073", "0.01e131074", "1e-16382", "1e-16383", "1e-16384", "1.5e-16382", "1.5e-16383", "15e-16383", "0e-16383", "0e-16384", "0e131072",
		"0e200000", "0.0e-16382", "0.0e-16383", "9.99e131071", "-9.99E+131071", "1E-16383", "1.0e00000000000005", "1e0000131072",
		strings.Repeat("9", 131071), strings.Repeat("9", 131072), strings.Repeat("9", 131073), "0." + strings.Repeat("1", 16383), "0." + strings.Repeat("1", 16384),
		strings.Repeat("9", 131072) + "." + strings.Repeat("9", 16383), "0." + strings.Repeat("0", 16383) + "1e1", "0." + strings.Repeat("0", 16382) + "1",
	}
	for _, number := range numbers {
		for _, raw := range []string{number, `{"a":"ee1","n":` + number + `}`, "[" + number + "]"} {
			_, ours := foreign.ParseJSON([]byte(raw))
			if theirs := ask(raw); (ours == nil) != (theirs == nil) {
				t.Errorf("%.60s… (%d bytes): the door says %v, Postgres says %v", raw, len(raw), ours, theirs)
			}
		}
	}
	for _, nested := range []string{strings.Repeat("[", 1000) + strings.Repeat("]", 1000), strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)} {
		if _, err := foreign.ParseJSON([]byte(nested)); err != nil || ask(nested) != nil {
			t.Errorf("nested %.10s…: the door says %v, Postgres says %v", nested, err, ask(nested))
		}
	}
	pieces := []string{`\u0000`, `\ud83d`, `\ude00`, `\uD83D\uDE00`, `\\`, `\\u0000`, `\n`, "\xff", "\xed\xa0\xbd", "ü", "e5", `\u0041`}
	for i := range len(pieces) * len(pieces) * len(pieces) {
		raw := fmt.Sprintf(`{"%[1]s":"%[2]s%[3]s%[1]s"}`, pieces[i%12], pieces[i/12%12], pieces[i/144])
		got, err := foreign.ParseJSON([]byte(raw))
		if err != nil {
			t.Fatalf("ParseJSON(%q): %v", raw, err)
		}
		if err := ask(got.String()); err != nil {
			t.Fatalf("%q became %q, which Postgres refuses: %v", raw, got, err)
		}
	}
}

// FuzzParseJSON checks that a document that passes says the same as before to Go's decoder, which puts U+FFFD for half pairs and bad bytes too, but for U+0000.
func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1e5}`, `"\ud83d\ude00\u0000"`, "[\"\xff\"]", `"\\u0000"`, strings.Repeat("12345678", 1100), `[1.5e-16384]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := foreign.ParseJSON(raw)
		if err != nil {
			return
		}
		var before, after any
		if json.Unmarshal(raw, &before) != nil {
			return // a float64 has other limits
		}
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%q became %q: %v", raw, got, err)
		}
		want, _ := json.Marshal(before)
		have, _ := json.Marshal(after)
		normal := strings.NewReplacer(`\u0000`, "\ufffd", `\ufffd`, "\ufffd")
		if collapsed(normal.Replace(string(have))) != collapsed(normal.Replace(string(want))) {
			t.Fatalf("%q became %q: %s is not %s", raw, got, have, want)
		}
	})
}

// collapsed takes several replacement characters in a row for one.
func collapsed(text string) string {
	for strings.Contains(text, "\ufffd\ufffd") {
		text = strings.ReplaceAll(text, "\ufffd\ufffd", "\ufffd")
	}
	return text
}

var issue = []byte(`{"id":1,"node_id":"MDU6SXNzdWUx","number":1347,"title":"Found a bug\n","user":{"login":"octocat","id":1,"avatar_url":"https://github.com/images/error/octocat_happy.gif","html_url":"https://github.com/octocat","type":"User","site_admin":false},"labels":[{"id":208045946,"name":"bug","color":"f29513","default":true}],"state":"open","locked":true,"comments":0,"created_at":"2011-04-22T13:33:48Z","updated_at":"2011-04-22T13:33:48Z","body":"I'm having a problem with this. It happens whenever the page is loaded twice in a row from the cache, \u003cem\u003ebut\u003c/em\u003e not otherwise.","author_association":"COLLABORATOR"}`)

func TestEncodedJSONDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = foreign.EncodedJSON(issue) }); n != 0 {
		t.Errorf("%v allocations for a sound document", n)
	}
}

func BenchmarkEncodedJSON(b *testing.B) {
	for name, raw := range map[string][]byte{
		"issue": issue, "list": []byte("[" + strings.Repeat(string(issue)+",", 49) + "1]"), "ü": []byte(`"` + strings.Repeat("ü", 300) + `"`),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				_, _ = foreign.EncodedJSON(raw)
			}
		})
	}
}
