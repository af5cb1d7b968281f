package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// declaring is a provider that declares what is secret.
type declaring struct {
	contracts.Provider
	request, response []string
}

func (d declaring) SensitiveRequestFields() []string  { return d.request }
func (d declaring) SensitiveResponseFields() []string { return d.response }

func redactorOf(credentials string, fields ...string) *Redactor {
	return New(declaring{request: fields, response: fields}, contracts.NewIntegration(contracts.IntegrationFields{Credentials: json.RawMessage(credentials)}))
}

func TestRedactBody(t *testing.T) {
	t.Parallel()
	const form, parts = "application/x-www-form-urlencoded", `multipart/form-data; boundary="b"`
	for _, test := range []struct {
		name, media, body, want string
		fields                  []string
		cut                     bool
	}{
		{name: "a path", fields: []string{"card.number"}, body: `{"card": {"number" : "4242", "exp":1}}`, want: `{"card": {"number" : "[REDACTED]", "exp":1}}`},
		{name: "a path that leads nowhere", fields: []string{"card.number", "x"}, body: `{ "card":"number" , "a":1e400}`, want: `{ "card":"number" , "a":1e400}`},
		{name: "any key and any index", fields: []string{"*.tel", "list.*.tel"}, body: `{"a":{"tel":1},"list":[{"tel":2},3,{"x":{"tel":4}}]}`, want: `{"a":{"tel":"[REDACTED]"},"list":[{"tel":"[REDACTED]"},3,{"x":{"tel":4}}]}`},
		{name: "an index", fields: []string{"list.1"}, body: `{"list":[[1],[2],[3]]}`, want: `{"list":[[1],"[REDACTED]",[3]]}`},
		{name: "a whole object", fields: []string{"card"}, body: `{"card":{"number":[{}]},"b":[]}`, want: `{"card":"[REDACTED]","b":[]}`},
		{name: "null, true and numbers", fields: []string{"a", "b", "c"}, body: `{"a":null,"b":true,"c":-1.5}`, want: `{"a":"[REDACTED]","b":"[REDACTED]","c":"[REDACTED]"}`},
		{name: "a key that is escaped", fields: []string{"card"}, body: `{"\u0063ard":"4242"}`, want: `{"\u0063ard":"[REDACTED]"}`},
		{name: "a key twice", fields: []string{"a"}, body: `{"a":1,"a":2}`, want: `{"a":"[REDACTED]","a":"[REDACTED]"}`},
		{name: "values one after the other", fields: []string{"a"}, media: "application/x-ndjson", body: "{\"a\":1}\n{\"b\":1}\n{\"a\":2}\n", want: "{\"a\":\"[REDACTED]\"}\n{\"b\":1}\n{\"a\":\"[REDACTED]\"}\n"},
		{name: "cut in a secret", fields: []string{"a"}, cut: true, body: `{"b":1,"a":"424`, want: `{"b":1,"a":"[REDACTED]"`},
		{name: "cut in a secret object", fields: []string{"a"}, cut: true, body: `{"b":1,"a":{"x":"424`, want: `{"b":1,"a":"[REDACTED]"`},
		{name: "cut elsewhere", fields: []string{"a"}, cut: true, body: `{"a":1,"b":"42`, want: `{"a":"[REDACTED]","b":"42`},
		{name: "cut in a key", fields: []string{"abc"}, cut: true, body: `{"x":1,"ab`, want: `{"x":1,"ab`},
		{name: "not JSON from somewhere on", fields: []string{"a"}, body: `{"x":1, oops "a":"4242"}`, want: `{"x":1, [UNREADABLE 16 bytes]`},
		{name: "not JSON at all", fields: []string{"a"}, media: "application/json", body: `)]}',{"a":"4242"}`, want: `[UNREADABLE 17 bytes]`},
		{name: "a page of HTML", fields: []string{"a"}, media: "text/html", body: `<a href="/x?token=4242&amp;b=1">`, want: `<a href="/x?token=[REDACTED]&amp;b=1">`},
		{name: "names that are always secret", body: `{"access_token":"4242","expires_in":1,"inner":{"password":"p"}}`, want: `{"access_token":"[REDACTED]","expires_in":1,"inner":{"password":"[REDACTED]"}}`},
		{name: "a secret name without a secret", body: `{"password":"","api_key":null}`, want: `{"password":"","api_key":null}`},
		{name: "a URL inside", body: `{"next":"https://u:p@x/?page=2\u0026access_token=4242"}`, want: `{"next":"https://[REDACTED]@x/?page=2\u0026access_token=[REDACTED]"}`},
		{name: "a form", media: form, fields: []string{"card.number"}, body: "a=1&card[number]=4242&card%5Bnumber%5D=4242&client_secret=x&b=%zz", want: "a=1&card[number]=[REDACTED]&card%5Bnumber%5D=[REDACTED]&client_secret=[REDACTED]&b=%zz"},
		{
			name: "parts", media: parts, fields: []string{"pin"},
			body: "--b\r\nContent-Disposition: form-data; name=\"pin\"\r\n\r\n4242\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\nsecret\r\n--b--\r\n",
			want: "--b\r\nContent-Disposition: form-data; name=\"pin\"\r\n\r\n[REDACTED]\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\n[6 bytes]\r\n--b--\r\n",
		},
		{
			name: "XML", media: "application/soap+xml; charset=utf-8",
			body: "<s:Header><w:Password>4242</w:Password></s:Header><a>1</a>", want: "<s:Header><w:Password>[REDACTED]</w:Password></s:Header><a>1</a>",
		},
		{name: "XML that is cut", cut: true, body: "<?xml version='1.0'?><Token>42", want: "<?xml version='1.0'?><Token>[REDACTED]"},
		{
			name: "XML in a part", media: parts,
			body: "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n<Token>4242</Token>\r\n--b--\r\n",
			want: "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n<Token>[REDACTED]</Token>\r\n--b--\r\n",
		},
		{
			name: "a part that is cut", media: parts, cut: true,
			body: "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n424", want: "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n[REDACTED]",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := redactorOf(`{}`, test.fields...)
			if diff := cmp.Diff(test.want, string(r.ResponseBody(test.media, []byte(test.body), test.cut))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, string(r.RequestBody(test.media, []byte(test.body), test.cut))); diff != "" {
				t.Errorf("a request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRedactCredentials(t *testing.T) {
	t.Parallel()
	const secret = `s3cr"t/väl+ue<&>`
	in := redactorOf(`{"token":` + string(must(json.Marshal(secret))) + `,"short":"abc","deep":{"list":["another-one"]},"account":1234567890,"file":"{\"private\":\"in the file\"}"}`)
	for name, text := range map[string]string{
		"verbatim": secret, "in a query": url.QueryEscape(secret), "in a path": url.PathEscape(secret), "in JSON": string(must(json.Marshal(secret))),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "base64 of a URL": base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"deep": "another-one", "a number": "1234567890", "in a file": "in the file",
	} {
		if shown := in.Text("before " + text + " after"); !strings.HasPrefix(shown, "before ") || !strings.HasSuffix(shown, " after") || !strings.Contains(shown, Redacted) {
			t.Errorf("%s: %q is shown as %q", name, text, shown)
		}
	}
	for before := range 5 {
		basic := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", before) + secret + "p"))
		if shown := in.Text(basic); len(shown) > len(Redacted)+before*2+6 {
			t.Errorf("%q is shown as %q", basic, shown)
		}
	}
	if got := in.Text("abc"); got != "abc" {
		t.Errorf("a short credential is redacted: %q", got)
	}
	// The beginning of a credential at the end of a cut body.
	for i := range len(secret) {
		if shown := in.ResponseBody("text/plain", []byte(strings.Repeat(".", 200)+secret[:i]), true); strings.Contains(string(shown), secret[:1]) {
			t.Fatalf("a cut body ends with %q", shown[190:])
		}
	}
}

func TestRedactNames(t *testing.T) {
	t.Parallel()
	r := redactorOf(`{"t":"credential-value"}`)
	header := http.Header{
		"Authorization": {"Bearer x"}, "Cookie": {"a=b"}, "Set-Cookie": {"a=b"}, "X-Api-Key": {"k"}, "X-Signature-256": {"k"}, "Proxy-Authorization": {"k"},
		"Idempotency-Key": {"order 7"}, "Content-Type": {"text/plain"}, "Location": {"/cb?code=4242&state=1#access_token=4242"}, "X-Who": {"a credential-value"}, "Etag": {`"1"`},
	}
	want := http.Header{
		"Authorization": {Redacted}, "Cookie": {Redacted}, "Set-Cookie": {Redacted}, "X-Api-Key": {Redacted}, "X-Signature-256": {Redacted}, "Proxy-Authorization": {Redacted},
		"Idempotency-Key": {"order 7"}, "Content-Type": {"text/plain"}, "Location": {"/cb?code=[REDACTED]&state=1#access_token=[REDACTED]"}, "X-Who": {"a [REDACTED]"}, "Etag": {`"1"`},
	}
	if diff := cmp.Diff(want, r.Header(header)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	u := must(url.Parse("https://u:p@api.example.com/v1/credential-value/x%2Fy?page=1&api_key=k&x=credential-value#f"))
	if got, want := r.URL(u).String(), "https://%5BREDACTED%5D@api.example.com/v1/%5BREDACTED%5D/x/y?page=1&api_key=[REDACTED]&x=[REDACTED]"; got != want {
		t.Errorf("the URL is shown as %s, want %s", got, want)
	}
	plain := must(url.Parse("https://api.example.com/v1/x%2Fy?page=1"))
	if r.URL(plain) != plain {
		t.Error("a URL without secrets is copied")
	}
	for text, want := range map[string]string{
		`Get "https://x.example/a?sig=1&b=2": EOF`: `Get "https://x.example/a?sig=[REDACTED]&b=2": EOF`,
		"why? token=x is text":                     "why? token=[REDACTED] is text",
		"at 12:00 a://b?c":                         "at 12:00 a://b?c",
		"":                                         "",
		"?=&;?token=":                              "?=&;?token=",
	} {
		if got := (*Redactor)(nil).Text(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestRedactError(t *testing.T) {
	t.Parallel()
	cause := &url.Error{Op: "Get", URL: "https://x/?token=4242", Err: slow{errors.New("credential-value")}}
	err := redactorOf(`{"t":"credential-value"}`).Error(fmt.Errorf("fetch: %w", cause))
	if got, want := err.Error(), `fetch: Get "https://x/?token=[REDACTED]": [REDACTED]`; got != want {
		t.Errorf("the error reads %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if !(&url.Error{Err: err}).Timeout() {
		t.Error("a timeout is one no more")
	}
	if same := errors.New("fine"); redactorOf(`{}`).Error(same) != same { //nolint:errorlint // the very same is meant
		t.Error("an error without secrets is wrapped")
	}
}

type slow struct{ error }

func (slow) Timeout() bool { return true }

func TestRedactLog(t *testing.T) {
	t.Parallel()
	const secret = "credential-value"
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var out bytes.Buffer
		log := redactorOf(`{"t":"`+secret+`"}`).Logger(slog.New(handler(&out))).With("with", secret).WithGroup("group")
		log.Info("told "+secret, "text", secret, "error", errors.New(secret), "any", map[string]string{"a": secret}, "pointer", &struct{ A string }{secret},
			slog.Group("inner", "a", secret), "bytes", []byte(secret), "number", 7, "list", []string{"a"}, "url", "https://x/?token=4242")
		text := out.String()
		if strings.Contains(text, secret) || strings.Contains(text, "4242") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
			t.Errorf("%s: a secret is logged: %s", name, text)
		}
		if strings.Count(text, Redacted) < 8 || !strings.Contains(text, "7") {
			t.Errorf("%s: too much is gone: %s", name, text)
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
