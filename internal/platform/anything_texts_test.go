package platform_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// texts draws texts of any bytes and any length, from a fixed seed.
type texts struct {
	mu sync.Mutex
	*rand.Rand
	// large says that the next long text may have megabytes.
	large bool
	// honest has the authorization server answer as it should: see [granting].
	honest bool
	// running says that the providers have been checked, and noted are the methods of contracts that were called.
	running bool
	noted   map[string]bool
	// handled are the types of webhooks that have a handler.
	handled []string
}

// below draws a number.
func (d *texts) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.IntN(n)
}

// text draws one of the texts that stores and terminals do not take, or take at a price.
func (d *texts) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	parts := []string{"", "plain", "a\x00b", "caf\xe9", "\xed\xa0\xbd", `cut \ud83d`, "\x1b[2J", "\u009b31m", "\u2028ü😀", "\xff\xfe", `\u0000`, "token=x1", "{\"a\":", "'; --", "%s%!d", "\r\n", "1e999999"}
	text := parts[d.IntN(len(parts))]
	switch d.IntN(6) {
	case 0:
		text = strings.Repeat(text+"x", d.IntN(20_000))
	case 1:
		raw := make([]byte, d.IntN(2000))
		for i := range raw {
			raw[i] = byte(d.IntN(256))
		}
		text += string(raw)
	case 2:
		if d.large {
			d.large = false
			text = strings.Repeat(text+"y", 3<<20/(len(text)+1))
		}
	}
	return text + parts[d.IntN(len(parts))]
}

// document draws what a provider may take for JSON.
func (d *texts) document() json.RawMessage {
	text := d.text()
	switch d.below(4) {
	case 0:
		return json.RawMessage(text)
	case 1:
		return json.RawMessage(`{"text":"` + strings.NewReplacer(`"`, "", "\n", "", "\r", "", "\x1b", "", "\x00", "").Replace(text) + `"}`)
	case 2:
		return json.RawMessage(strings.Repeat("[", len(text)%3000) + strings.Repeat("]", len(text)%3000))
	}
	encoded, _ := json.Marshal(map[string]string{text: text}) // texts can be encoded
	return encoded
}

// fail is what foreign code does with a text: it returns an error of one of the kinds, or panics.
func (d *texts) fail() error {
	text := d.text()
	switch d.below(5) {
	case 0:
		return contracts.Permanent(errors.New(text))
	case 1:
		return contracts.Skip(text)
	case 2:
		return contracts.RetryAfter(time.Millisecond, errors.New(text))
	case 3:
		panic(text)
	}
	return errors.New(text)
}

func (d *texts) isRunning() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running
}

// begin has the draws of a round come from its seed.
func (d *texts) begin(seed uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Rand, d.large, d.running = rand.New(rand.NewPCG(seed, 7)), true, true
}
