package tributary_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the documents as TestSentences wants them")

// TestSentences keeps one sentence on a line in Markdown, so that a diff shows the sentence that changed.
func TestSentences(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{
		"*.md", ".github/*.md", "docs/*.md", "docs/*/*.md", "deploy/*.md",
		"examples/*/*.md",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(paths) == 0 {
			t.Errorf("%s: no document has such a name", pattern)
		}
		for _, path := range paths {
			text := readText(t, path)
			want := oneSentenceALine(text)
			if text == want {
				continue
			}
			if *rewrite {
				if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			t.Errorf("%s: a line has more than a sentence, or a sentence more than a line: run make fmt", path)
		}
	}
}

func TestOneSentenceALine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"One. Two! Three? Four":           "One.\nTwo!\nThree?\nFour",
		"A long\nline. Another":           "A long line.\nAnother",
		"One\n\nTwo\nlines":               "One\n\nTwo lines",
		"- One. Two\n- Three":             "- One.\n  Two\n- Three",
		"1. One\n   goes on. Two":         "1. One goes on.\n   Two",
		"- One\n  - Two. Three":           "- One\n  - Two.\n    Three",
		"> One. Two":                      "> One.\n> Two",
		"| One. Two | Three |":            "| One. Two | Three |",
		"# One. Two":                      "# One. Two",
		"```\nOne. Two\n```\nOne. Two":    "```\nOne. Two\n```\nOne.\nTwo",
		"<!-- One. Two -->\nThree":        "<!-- One. Two -->\nThree",
		"**One.** Two (three. Four.) Six": "**One.**\nTwo (three. Four.)\nSix",
		"See `a. B` and [one. Two](x)":    "See `a. B` and [one. Two](x)",
		"On 15.18, e.g. Linux. `x` is":    "On 15.18, e.g. Linux.\n`x` is",
		"It ends. 2. is no list":          "It ends. 2. is no list",
		"It waits... for us":              "It waits... for us",
	} {
		if got := oneSentenceALine(text); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
		if again := oneSentenceALine(want); again != want {
			t.Errorf("%q became %q the second time", want, again)
		}
	}
}

var (
	listItem = regexp.MustCompile(`^( *(?:[-*+]|\d+\.) +)(.*)$`)
	quoted   = regexp.MustCompile(`^(> ?)(.*)$`)
	// tables, headings, blank lines, HTML, references
	verbatim = regexp.MustCompile(`^( *\||#|\s*$|<|\[[^\]]+\]: |---)`)
	ending   = regexp.MustCompile(`[.!?](?:\)|"|\*\*|\*|_)*$`)
	begins   = regexp.MustCompile("^[A-Z0-9À-Þ\"(`*\\[_]")
	looksOdd = regexp.MustCompile(`^(?:\d+\.|[-+*#>|])(?:\s|$)`) // would begin a list, a heading or a table
	shortcut = regexp.MustCompile(`(?:^|[ (])(?:e\.g|i\.e|etc|vs|cf|No|St)\.$`)
)

// oneSentenceALine joins the lines of each paragraph and list item, and splits them where a sentence ends.
func oneSentenceALine(text string) string {
	var out, paragraph []string
	first, rest := "", "" // what stands before the paragraph's first line, and before the others
	flush := func() {
		for i, sentence := range sentences(strings.Join(paragraph, " ")) {
			prefix := rest
			if i == 0 {
				prefix = first
			}
			out = append(out, prefix+sentence)
		}
		paragraph, first, rest = nil, "", ""
	}
	fence := false
	for line := range strings.SplitSeq(text, "\n") {
		isFence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || isFence || verbatim.MatchString(line) {
			flush()
			out = append(out, line)
			fence = fence != isFence
			continue
		}
		if found := listItem.FindStringSubmatch(line); found != nil {
			flush()
			first, rest, line = found[1], strings.Repeat(" ", len(found[1])), found[2]
		} else if found := quoted.FindStringSubmatch(line); found != nil {
			if len(paragraph) == 0 {
				first, rest = found[1], found[1]
			}
			line = found[2]
		} else if len(paragraph) == 0 {
			first = line[:len(line)-len(strings.TrimLeft(line, " "))]
			rest = first
		}
		paragraph = append(paragraph, strings.TrimSpace(line))
	}
	flush()
	return strings.Join(out, "\n")
}

// sentences splits a paragraph where a sentence ends outside of code, links and brackets.
func sentences(paragraph string) (all []string) {
	words := strings.Split(paragraph, " ")
	begin, code, depth := 0, false, 0
	for i, word := range words {
		for _, c := range word {
			switch {
			case c == '`':
				code = !code
			case code:
			case c == '(' || c == '[':
				depth++
			case c == ')' || c == ']':
				depth--
			}
		}
		if i+1 == len(words) {
			continue
		}
		next := strings.Join(words[i+1:], " ")
		sentence := strings.Join(words[begin:i+1], " ")
		if !code && depth <= 0 && ending.MatchString(word) && !strings.HasSuffix(word, "..") &&
			!shortcut.MatchString(sentence) &&
			begins.MatchString(next) && !looksOdd.MatchString(next) {
			all = append(all, sentence)
			begin, depth = i+1, 0
		}
	}
	if paragraph != "" {
		all = append(all, strings.Join(words[begin:], " "))
	}
	return all
}
