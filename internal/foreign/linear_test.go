package foreign_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
)

// TestRedactGrowsWithTheText redacts texts that repeat what rules look for. A rule that looks at the rest of the text
// each time needs hours for a megabyte, and whoever redacts does nothing else meanwhile; a good one needs some
// milliseconds.
func TestRedactGrowsWithTheText(t *testing.T) {
	t.Parallel()
	for _, piece := range []string{
		"a", "://", "https://", "https://a:b", "x://@", "token=", `{"`, "[", `\u`, `\"`, "Bearer ", "authorization: ", `"token":`, `"token":"`, "password ", "&token=a", "--", "<token>", "</token>", "<token></", "<token>a</token>", "<token", "&lt;pin&gt;&lt;/", "a=b&",
		"%7B", `"`, "'", "@", ":", "?", "#", "?#", "eyJ.", "=", " ", "\n", `{"a":`, `token\":\"`, "basic ", `key="`, "-----BEGIN ", "/", "é", "\xff", "token%3D", "%25", "Cookie: a=b; ",
	} {
		began := time.Now()
		foreign.Redact(strings.Repeat(piece, 1<<20/len(piece)))
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("a megabyte of %q takes %s", piece, took)
		}
	}
}

// TestUsersOfManyURLs are found in words with many URLs in them, of which some have passwords with slashes.
func TestUsersOfManyURLs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://a://u:p/w@h/x":              "http://[REDACTED]@h/x",
		"http://h/://i/ http://u:p/w@h":     "http://h/://i/ http://[REDACTED]@h",
		"http://u:p@h http://v:q/r@i end@j": "http://[REDACTED]@h http://[REDACTED]@i end@j",
		"a@b http://u:p/q c@d":              "a@b http://u:p/q c@d",
		"http://h:80/x@y,http://u:p/q@z":    "http://h:80/x@y,http://[REDACTED]@z",
	} {
		if got := foreign.RedactURLs(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
