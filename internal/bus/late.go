package bus

import "time"

// AckAfter decides about a message that can't be had again and whose row was committed at a time. It returns nil, which acknowledges the message, when that is longer ago than
// bound, which is for how long a commit may be missing on the standby that takes over. Until then it hands the message back. The messages of one second come back together, so
// that one query looks for all their rows.
func AckAfter(bound time.Duration, committed, now time.Time) error {
	safe := committed.Add(bound)
	if !now.Before(safe) {
		return nil
	}
	return Again(safe.Truncate(time.Second).Add(time.Second).Sub(now), "its row may be missing on a standby")
}
