package outbound

import "time"

// elapse lets time go by in a bubble, where nobody waits for it.
func elapse(d time.Duration) { <-time.After(d) }
