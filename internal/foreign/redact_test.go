package foreign_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tributaryhq/tributary/internal/foreign"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		// Pairs.
		"login failed: token=s3cr3t":                    "login failed: token=[REDACTED]",
		"why? token=x is text":                          "why? token=[REDACTED] is text",
		"(password=hunter2), again":                     "(password=[REDACTED]), again",
		"host=db user=u password=p4ss,w;ord dbname=x":   "host=db user=u password=[REDACTED] dbname=x",
		`api_key="two words" left`:                      `api_key="[REDACTED]" left`,
		`quoted "api_key=\"two words\" left"`:           `quoted "api_key=\"[REDACTED]\" left"`,
		"client_secret = abc def":                       "client_secret = [REDACTED] def",
		"a=1&access_token=abc&b=2":                      "a=1&access_token=[REDACTED]&b=2",
		"code=4/0AbCd and key=AIza":                     "code=[REDACTED] and key=[REDACTED]",
		"rpc error: code = Unavailable desc = down":     "rpc error: code = Unavailable desc = down",
		"exit with code=404, code: 22P02, key: users_7": "exit with code=404, code: 22P02, key: users_7",
		"if token == nil, token != x, len(token)=3":     "if token == nil, token != x, len(token)=3",
		"token=": "token=",
		`Get "https://x.example/a?sig=1&b=2": EOF`:  `Get "https://x.example/a?sig=[REDACTED]&b=2": EOF`,
		"dial postgres://u:p4ss@db:5432/x: refused": "dial postgres://[REDACTED]@db:5432/x: refused",
		// Headers.
		"sent Authorization: Bearer abc.def-ghi to x":                "sent Authorization: [REDACTED] to x",
		"authorization: Basic dXNlcjpwYXNz\r\nHost: a":               "authorization: [REDACTED]\r\nHost: a",
		"Authorization: Digest username=\"u\", nonce=\"n\"\nHost: a": "Authorization: [REDACTED]\nHost: a",
		"Cookie: a=b; c=d\nHost: a":                                  "Cookie: [REDACTED]\nHost: a",
		`"Set-Cookie: a=b; c=d\r\nHost: a"`:                          `"Set-Cookie: [REDACTED]\r\nHost: a"`,
		"X-Api-Key: letters":                                         "X-Api-Key: [REDACTED]",
		"map[Authorization:[Bearer abcdef] Host:[a]]":                "map[Authorization:[[REDACTED]] Host:[a]]",
		"map[token:abc123 page:7]":                                   "map[token:[REDACTED] page:7]",
		"the upstream refused bearer abc123def456":                   "the upstream refused bearer [REDACTED]",
		"Basic authentication failed":                                "Basic authentication failed",
		// JSON, as it is and in quotes.
		`answer: {"access_token":"abc","expires_in":60}`: `answer: {"access_token":"[REDACTED]","expires_in":60}`,
		`answer: "{\"password\": \"a\\\"b\", \"n\":1}"`:  `answer: "{\"password\": \"[REDACTED]\", \"n\":1}"`,
		`{"pin":1234,"token":null,"code":"not_found"}`:   `{"pin":[REDACTED],"token":null,"code":"not_found"}`,
		`{"Authorization":["Bearer abc"],"Host":["a"]}`:  `{"Authorization":[[REDACTED]],"Host":["a"]}`,
		`{"client_secret":"cut he`:                       `{"client_secret":"[REDACTED]`,
		`"{\\\"token\\\":\\\"v4lue\\\",\\\"n\\\":1}"`:    `"{\\\"token\\\":\\\"[REDACTED]\\\",\\\"n\\\":1}"`,
		// XML.
		`<wsse:Password Type="x">p&amp;4ss</wsse:Password><Code>NoSuchKey</Code><Key>a/b</Key>`: `<wsse:Password Type="x">[REDACTED]</wsse:Password><Code>NoSuchKey</Code><Key>a/b</Key>`,
		"<a><SessionToken>\n x\n</SessionToken><token/><n>1</n></a>":                            "<a><SessionToken>[REDACTED]</SessionToken><token/><n>1</n></a>",
		"<Credentials><User>u</User><Pin>1</Pin></Credentials><User>v</User>":                   "<Credentials>[REDACTED]</Credentials><User>v</User>",
		`<?xml version="1.0"?><password>cut he`:                                                 `<?xml version="1.0"?><password>[REDACTED]`,
		`{"body":"\u003cpassword\u003ex\u003c/password\u003e"}`:                                 `{"body":"\u003cpassword\u003e[REDACTED]\u003c/password\u003e"}`,
		"&lt;password&gt;x&lt;/password&gt; is wrong":                                           "&lt;password&gt;[REDACTED]&lt;/password&gt; is wrong",
		"give it <token> or <password>":                                                         "give it <token> or <password>",
		// Passwords that end the authority of a URL.
		`dial "postgres://u:p/4?s#s@db:5432/x": refused`: `dial "postgres://[REDACTED]@db:5432/x": refused`,
		"https://api.example:443/users/@me":              "https://api.example:443/users/@me",
		"http://[::1]/a@b, http://db:/a@b":               "http://[::1]/a@b, http://[REDACTED]@b",
		// Sentences.
		"refresh token: context deadline exceeded":      "refresh token: context deadline exceeded",
		"read the token: x509: certificate has expired": "read the token: x509: certificate has expired",
		"token: 401 Unauthorized":                       "token: 401 Unauthorized",
		"password: hunter2":                             "password: [REDACTED]",
		"":                                              "",
	} {
		if got := foreign.Redact(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
		if got := foreign.Of(errors.New(text)).String(); got != want {
			t.Errorf("the error %q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestRedactMultipart(t *testing.T) {
	t.Parallel()
	const body = "400: --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\nprivate\r\nfile\r\n" +
		"--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nprivate\r\n--b--\r\n"
	const want = "400: --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\n[13 bytes]\r\n" +
		"--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n[7 bytes]\r\n--b--\r\n"
	escape := strings.NewReplacer("\r", `\r`, "\n", `\n`)
	if got := foreign.Redact(body); got != want {
		t.Errorf("it is shown as %q, want %q", got, want)
	}
	if got, want := foreign.Redact(escape.Replace(body)), escape.Replace(want); got != strings.ReplaceAll(want, "[13 bytes]", "[15 bytes]") {
		t.Errorf("with escapes it is shown as %q, want %q", got, want)
	}
	if got := foreign.Redact(body[:strings.Index(body, "file\r\n")]); strings.Contains(got, "private") {
		t.Errorf("cut, it is shown as %q", got)
	}
}

// TestRedactAnything checks that a secret behind a name is gone, whatever stands around it, and that a second look changes nothing.
func TestRedactAnything(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3tValue"
	rapid.Check(t, func(t *rapid.T) {
		around := rapid.StringOf(rapid.SampledFrom([]rune("ab :=\"'\\[]{}&?/,\n\x00ü-")))
		field := rapid.SampledFrom([]string{
			"token=", " password=\"", "Authorization: Bearer ", "X-Api-Key: ", "{\"secret\":\"", "\\\"secret\\\": \\\"", "api_key: ", "https://u:p@x/?sig=", "bearer ",
		}).Draw(t, "field")
		before := rapid.String().Draw(t, "anything") + around.Draw(t, "before") + "\n"
		after := around.Draw(t, "after")
		if strings.HasSuffix(field, "r ") || strings.HasPrefix(field, "api") {
			// Nothing but its look says that it is secret: it must be a word of its own.
			after = "\n" + after
		}
		got := foreign.Redact(before + field + secret + after)
		if strings.Contains(got, secret) {
			t.Fatalf("%q behind %q is shown as %q", field, before, got)
		}
		if again := foreign.Redact(got); again != got {
			t.Fatalf("redacted twice, %q became %q", got, again)
		}
	})
}

// TestRedactLongTexts checks that the time grows with the length of a text, and not with its square: with its square, it would take longer than a test may.
func TestRedactLongTexts(t *testing.T) {
	t.Parallel()
	for _, part := range []string{
		"token:", "token=", "token='", "\"token\":[", "\"token\":\"[REDACTED]", "Bearer a1b2c3 ", "Cookie: ", "Content-Disposition: a\n\n", "a://b@", "?a=", "=", "code= ", "X-Key:[",
		"\\\"key\\\":", "bearer ",
	} {
		started := time.Now()
		foreign.Redact(strings.Repeat(part, 1<<20/len(part)))
		t.Logf("%q: %s", part, time.Since(started))
	}
}

func BenchmarkRedact(b *testing.B) {
	text := strings.Repeat("item 7: the upstream said: no ", 30)
	b.ReportAllocs()
	for b.Loop() {
		_ = foreign.Redact(text)
	}
}
