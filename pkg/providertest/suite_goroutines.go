package providertest

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
)

// label marks the goroutines of one suite. Those that a call starts have the label of their caller.
const label = "providertest"

// labelled calls foreign code with the suite's label.
func (k *kit) labelled(call func() error) (err error) {
	pprof.Do(context.Background(), pprof.Labels(label, k.name()), func(context.Context) { err = call() })
	return err
}

// name tells suites of one process apart.
func (k *kit) name() string { return fmt.Sprintf("%s %p", k.Key, k) }

// abandoned checks that syncs leave no goroutines behind. Some that a provider starts once are its own affair: the suite makes far more syncs than that.
func (k *kit) abandoned(t *testing.T) {
	const once = 3
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n, where := k.running(t)
		if n <= once {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Errorf("%d goroutines of the provider still run after all its calls have returned, for example at %s: end them before Sync returns", n, where)
			return
		}
	}
}

// running counts the goroutines with the suite's label that are not the HTTP client's, which has some for its connections.
func (k *kit) running(t *testing.T) (n int, where string) {
	t.Helper()
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	mark := fmt.Sprintf("%q:%q", label, k.name())
	for record := range strings.SplitSeq(profile.String(), "\n\n") {
		if !strings.Contains(record, mark) {
			continue
		}
		if frame := authors(record); frame != "" {
			n, where = n+goroutines(record), frame
		}
	}
	return n, where
}

// goroutines is the number at the head of a record, which says how many have the same stack.
func goroutines(record string) int {
	for line := range strings.Lines(record) {
		if count, _, ok := strings.Cut(line, " @ "); ok {
			n, _ := strconv.Atoi(count)
			return n
		}
	}
	return 0
}

// authors is the first frame of a goroutine that is neither of the standard library, whose paths have no dot before the first slash, nor of golang.org, which has
// clients of its own; empty when there is none.
func authors(record string) string {
	for line := range strings.Lines(record) {
		fields := strings.Fields(line)
		const frame = 4 // #, address, function+offset, file:line
		if len(fields) != frame || fields[0] != "#" {
			continue
		}
		root, _, hasSlash := strings.Cut(fields[2], "/")
		if hasSlash && strings.Contains(root, ".") && root != "golang.org" || strings.HasPrefix(fields[2], "main.") {
			return fields[3]
		}
	}
	return ""
}

// goroutine is the id of the goroutine that calls it, as it is in stack traces: "goroutine 7 [running]".
func goroutine() string {
	var trace [64]byte
	fields := strings.Fields(string(trace[:runtime.Stack(trace[:], false)]))
	return fields[1]
}
