package redact

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// hidden is in every secret of the property tests, and nowhere else.
const hidden = "HIDDEN"

// document draws a JSON value whose texts at declared places hold the secret.
func document(t *rapid.T, declared []path, place path, depth int) any {
	if declares(declared, place) {
		if depth > 0 && rapid.Bool().Draw(t, "a secret object") {
			return map[string]any{"a": []any{hidden, map[string]any{"b": hidden + `"\`}}}
		}
		return hidden + rapid.SampledFrom([]string{"", `"`, `\`, "\n", "é", "}", "]", "\u2028"}).Draw(t, "secret")
	}
	kind := 0
	if depth > 0 {
		kind = rapid.IntRange(0, 4).Draw(t, "kind")
	}
	switch kind {
	case 1, 2:
		object := map[string]any{}
		for _, key := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "", "0", "*", `"`, "é"}), 0, 4).Draw(t, "keys") {
			object[key] = document(t, declared, append(slices.Clip(place), key), depth-1)
		}
		return object
	case 3, 4:
		list := []any{}
		for i := range rapid.IntRange(0, 3).Draw(t, "elements") {
			list = append(list, document(t, declared, append(slices.Clip(place), strconv.Itoa(i)), depth-1))
		}
		return list
	default:
		return rapid.SampledFrom([]any{nil, true, json.Number("-1.50e3"), "", "text", `{"a":"b"}`, "é\u0000\\"}).Draw(t, "scalar")
	}
}

// redacted is what redaction means, on a decoded value.
func redacted(declared []path, place path, value any) any {
	if declares(declared, place) {
		return Redacted
	}
	switch value := value.(type) {
	case map[string]any:
		object := map[string]any{}
		for key, inner := range value {
			object[key] = redacted(declared, append(slices.Clip(place), key), inner)
		}
		return object
	case []any:
		list := []any{}
		for i, inner := range value {
			list = append(list, redacted(declared, append(slices.Clip(place), strconv.Itoa(i)), inner))
		}
		return list
	}
	return value
}

func TestRedactionProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		element := rapid.SampledFrom([]string{"a", "b", "c", "0", "1", "*", "é"})
		var fields []string
		for range rapid.IntRange(1, 3).Draw(t, "fields") {
			fields = append(fields, strings.Join(rapid.SliceOfN(element, 1, 3).Draw(t, "field"), "."))
		}
		declared := paths(fields)
		value := document(t, declared, nil, 5)
		body := must(json.Marshal(value))
		if rapid.Bool().Draw(t, "indented") {
			body = must(json.MarshalIndent(value, " ", "\t"))
		}
		r := redactorOf(`{}`, fields...)
		shown := r.RequestBody("application/json", body, false)
		var got any
		decoder := json.NewDecoder(bytes.NewReader(shown))
		decoder.UseNumber()
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("%q became %q: %v", body, shown, err)
		}
		if diff := cmp.Diff(redacted(declared, nil, value), got); diff != "" {
			t.Fatalf("%s of %s (-want +got):\n%s", fields, body, diff)
		}
		if !bytes.Contains(body, []byte(hidden)) && !bytes.Contains(shown, []byte(Redacted)) && !bytes.Equal(shown, body) {
			t.Fatalf("an untouched body is changed: %q became %q", body, shown)
		}
		end := rapid.IntRange(0, len(body)).Draw(t, "cut")
		if cut := r.ResponseBody("application/json", body[:end], true); bytes.Contains(cut, []byte(hidden)) || strings.Contains(string(cut), "HID") {
			t.Fatalf("%q, cut, became %q", body[:end], cut)
		}
	})
}

func FuzzRedact(f *testing.F) {
	f.Add(`{"a":{"b":"HIDDEN"}}`, "a.b", "application/json", true)
	f.Add(`[{"b":[1,"HIDDEN`, "*.b", "", true)
	f.Add("a=1&b[c]=HIDDEN", "b.c", "application/x-www-form-urlencoded", false)
	f.Add("--x\r\nContent-Disposition: form-data; name=a\r\n\r\nHIDDEN\r\n--x--", "a", "multipart/form-data; boundary=x", false)
	f.Add(`{"a"`+"\x00"+`:1}{]`, "..*", "a/json", false)
	f.Fuzz(func(t *testing.T, body, field, media string, cut bool) {
		r := redactorOf(`{"token":"4242-4242-4242"}`, field)
		shown := r.ResponseBody(media, []byte(body+"4242-4242-4242"), cut)
		if bytes.Contains(shown, []byte("4242-4242-4242")) {
			t.Errorf("a credential is shown: %q", shown)
		}
		// What is declared is gone from whatever is JSON still.
		var value any
		if json.Valid([]byte(body)) && json.Unmarshal([]byte(body), &value) == nil && strings.HasPrefix(media, "application/json") {
			var got any
			shown := redactJSON([]byte(body), paths([]string{field}), nil)
			if err := json.Unmarshal(shown, &got); err != nil {
				t.Fatalf("%q became %q: %v", body, shown, err)
			}
			if strings.Contains(string(must(json.Marshal(redacted(paths([]string{field}), nil, value)))), hidden) != strings.Contains(string(must(json.Marshal(got))), hidden) {
				t.Errorf("%q of %q became %q", field, body, shown)
			}
		}
		_ = (*Redactor)(nil).Text(body)
	})
}
