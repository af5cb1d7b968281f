// Package leak finds goroutines that the tests of a package leave behind.
package leak

import (
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end after the last test. A busy machine takes longer than the half second
// that goleak waits by itself.
const patience = 30 * time.Second

// Main runs the tests of a package, and ends the process with an error when one has failed or goroutines are left.
func Main(tests interface{ Run() int }) { os.Exit(Code(tests.Run())) }

// Code is the exit code of tests that have ended with a code: another when goroutines are left, of which it then prints
// the stacks.
func Code(code int) int { return codeWithin(patience, code, os.Stderr) }

func codeWithin(patience time.Duration, code int, stderr io.Writer) int {
	if code != 0 {
		return code
	}
	err := goleak.Find()
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); {
		err = goleak.Find()
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
