package budget

import (
	"testing/synctest"
	"time"
)

// elapse lets time go by in a bubble, where nobody waits for it, and everybody else do what is due at its end: what a
// test does next happens after that.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
