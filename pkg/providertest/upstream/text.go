package upstream

import (
	"math/rand/v2"
	"strings"
)

// vocabulary is what the words of titles and bodies are drawn from.
type vocabulary struct {
	logins, labels, colors, verbs, things, places, sentences []string
}

func words() vocabulary {
	return vocabulary{
		logins: []string{"ana-lima", "björn-k", "chidi", "dmitri-v", "eun-ji", "fatima", "guo-w", "hana"},
		labels: []string{"bug", "enhancement", "question", "good first issue", "dokumentation 📝", "優先"},
		colors: []string{"d73a4a", "a2eeef", "d876e3", "7057ff", "0075ca", "fbca04"},
		verbs:  []string{"Crash", "Wrong result", "Slow answer", "Confusing message", "Lost setting", "Zeitüberschreitung", "動作しない"},
		things: []string{"the importer", "the export dialog", "token renewal", "the search page", "naïve sorting", "emoji 🚀 titles", "«quoted» names"},
		places: []string{"on Windows", "behind a proxy", "with 10,000 rows", "after an upgrade", "in Safari", "on a slow disk", "with an empty file"},
		sentences: []string{
			"It happens every time, from a fresh install on.", "The log says nothing about it.", "Expected: the same as last week.",
			"À première vue, ça va mieux après.", "Second try works <sometimes> & only with `--force`.", "スクリーンショットを添付します。",
			"| before | after |\n| --- | --- |\n| 12 ms | 4 s |", "```go\nif err != nil {\n\treturn err\n}\n```", "Tested with \"quotes\", back\\slashes and a tab\there. ✅",
		},
	}
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

func (v vocabulary) title(random *rand.Rand) string {
	return pick(random, v.verbs) + " of " + pick(random, v.things) + " " + pick(random, v.places)
}

// body is a few sentences, and now and then some pages.
func (v vocabulary) body(random *rand.Rand) string {
	sentences := 1 + random.IntN(4)
	if random.IntN(100) == 0 {
		sentences = 150
	}
	var text strings.Builder
	for i := range sentences {
		if i > 0 {
			text.WriteString("\r\n\r\n")
		}
		text.WriteString(pick(random, v.sentences))
	}
	return text.String()
}
