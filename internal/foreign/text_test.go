package foreign_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tributaryhq/tributary/internal/foreign"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		most int
		want foreign.Text
	}{
		"clean":                     {"access denied", 100, "access denied"},
		"empty":                     {"", 100, ""},
		"Latin-1":                   {"acc\xe8s refus\xe9", 100, "acc\ufffds refus\ufffd"},
		"NUL":                       {"a\x00b", 100, "a\ufffdb"},
		"escape sequence":           {"\x1b[2Jgone", 100, "\ufffd[2Jgone"},
		"control beyond ASCII":      {"a\u009bb", 100, "a\ufffdb"},
		"delete":                    {"a\x7fb", 100, "a\ufffdb"},
		"lines and tabs":            {"a\tb\r\nc", 100, "a\tb\r\nc"},
		"half a surrogate pair":     {"a\xed\xa0\xbdb", 100, "a\ufffd\ufffd\ufffdb"},
		"exactly the limit":         {strings.Repeat("a", 100), 100, foreign.Text(strings.Repeat("a", 100))},
		"cut":                       {strings.Repeat("a", 101), 60, foreign.Text(strings.Repeat("a", 60-len("… [cut, 101 bytes]"))) + "… [cut, 101 bytes]"},
		"cut at a character":        {strings.Repeat("ü", 100), 61, foreign.Text(strings.Repeat("ü", (61-len("… [cut, 200 bytes]"))/2)) + "… [cut, 200 bytes]"},
		"cut, no room for the size": {strings.Repeat("a", 100), 10, "aaaaaaa…"},
		"cut, no room for a mark":   {strings.Repeat("a", 100), 2, "aa"},
		"grows beyond the limit":    {strings.Repeat("\xff", 60), 61, foreign.Text(strings.Repeat("\ufffd", (61-len("… [cut, 60 bytes]"))/3)) + "… [cut, 60 bytes]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := foreign.Clean(c.text, c.most); got != c.want {
				t.Errorf("Clean(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
			}
		})
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	if got := foreign.Of(nil); got != "" {
		t.Errorf("Of(nil) = %q", got)
	}
	got := foreign.Of(errors.New(strings.Repeat("page ", 500_000)))
	if len(got) > foreign.MaxError || !strings.HasSuffix(got.String(), "… [cut, 2500000 bytes]") || !strings.HasPrefix(got.String(), "page page ") {
		t.Errorf("an error of 2.5 MB became %q", got)
	}
}

// TestCleanAnything checks what every text must be that has come through, whatever it was.
func TestCleanAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text, most := string(rapid.SliceOf(rapid.Byte()).Draw(t, "text")), rapid.IntRange(0, 200).Draw(t, "most")
		if rapid.Bool().Draw(t, "valid") {
			text = strings.ToValidUTF8(text, "ü")
		}
		got := foreign.Clean(text, most).String()
		if len(got) > most || !utf8.ValidString(got) {
			t.Fatalf("Clean(%q, %d) = %q: %d bytes, UTF-8: %v", text, most, got, len(got), utf8.ValidString(got))
		}
		if strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\n\r", r) }) {
			t.Fatalf("Clean(%q, %d) = %q has control characters", text, most, got)
		}
		if again := foreign.Clean(got, most).String(); again != got {
			t.Fatalf("cleaned twice, %q became %q", got, again)
		}
		unharmed := utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\n\r", r) })
		if unharmed && len(text) <= most && got != text {
			t.Fatalf("a clean text %q became %q", text, got)
		}
	})
}

func TestCleanDoesNotAllocate(t *testing.T) {
	text := strings.Repeat("clean ", 100)
	if n := testing.AllocsPerRun(100, func() { _ = foreign.Clean(text, 1000) }); n != 0 {
		t.Errorf("%v allocations for a clean text", n)
	}
}

func BenchmarkClean(b *testing.B) {
	for name, text := range map[string]string{"id": "gid://shopify/Order/4507829469", "error": strings.Repeat("the upstream said no ", 20), "ü": strings.Repeat("ü", 200)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = foreign.Clean(text, foreign.MaxError)
			}
		})
	}
}
