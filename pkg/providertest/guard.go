package providertest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	// callLimit is how long one call into the provider may take. It is far longer than any should need.
	callLimit = time.Minute
	// requestLimit is how many requests one sync may make: a fixture has no more than some records.
	requestLimit = 2000
)

// clock ends a suite before the timeout of the test binary does, which would say nothing of the provider.
type clock struct {
	began, ends time.Time
	// stuck is set when a call into the provider did not return. What follows would only wait for it again.
	stuck bool
}

func newClock(t *testing.T) clock {
	t.Helper()
	c := clock{began: time.Now()}
	if timeout, ok := t.Deadline(); ok {
		c.ends = c.began.Add(time.Until(timeout) * 9 / 10)
	}
	return c
}

// left is how long the next call may take.
func (c *clock) left() time.Duration {
	if c.ends.IsZero() {
		return callLimit
	}
	return min(callLimit, time.Until(c.ends))
}

// outcome is what became of a call into the provider.
type outcome struct {
	err      error
	returned bool
	panicked bool
}

// attempt calls foreign code and turns a panic of it into an error. A call that ended its goroutine, as t.Fatal of a fixture does, has not returned.
func attempt(what string, call func() error) (o outcome) {
	defer func() {
		if value := recover(); value != nil {
			o = outcome{err: fmt.Errorf("%s panics at %s: %v", what, panicked(), value), returned: true, panicked: true}
		}
	}()
	err := call()
	return outcome{err: err, returned: true}
}

// panicked is where the panic began that is being recovered: its line, and those that led there.
func panicked() string {
	const most = 3
	var counters [64]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(0, counters[:])])
	var lines []string
	began := false
	for {
		frame, more := frames.Next()
		isSuite := began && strings.HasPrefix(frame.Function, "github.com/tributaryhq/tributary/pkg/providertest.")
		if !more || isSuite || len(lines) == most {
			return strings.Join(lines, ", called from ")
		}
		if began && !strings.HasPrefix(frame.Function, "runtime.") {
			lines = append(lines, fmt.Sprintf("%s:%d", frame.File, frame.Line))
		}
		began = began || frame.Function == "runtime.gopanic"
	}
}

// guarded calls foreign code. The test fails when that panics, and ends when it does not return.
func (k *kit) guarded(t *testing.T, what string, call func() error) error {
	t.Helper()
	limit := k.clock.left()
	if limit <= 0 {
		k.clock.stuck = true
		t.Fatalf("the suite has run for %s, and the timeout of go test is near: does the provider sleep, or wait before it asks again? "+
			"Return an error or contracts.RetryAfter, and the platform waits", time.Since(k.clock.began).Round(time.Second))
	}
	result := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() { result <- o }()
		o = attempt(what, func() error { return k.labelled(call) })
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o := <-result:
		if !o.returned {
			t.FailNow() // the fixture has said why
		}
		if o.panicked {
			t.Error(o.err)
		}
		return o.err
	case <-timer.C:
		k.clock.stuck = true
		t.Fatalf("%s has not returned after %s, %s into the suite, whose rest is left out: does it loop for ever, sleep, or wait for what does not come?",
			what, limit.Round(time.Millisecond), time.Since(k.clock.began).Round(time.Second))
		return nil
	}
}
