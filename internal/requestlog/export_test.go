package requestlog

import "github.com/prometheus/client_golang/prometheus/testutil"

// What tests of the log behind the whole chain look at.
const RecordedBytes = recordedBytes

var ErrLogFull = errLogFull

// Held is how much memory and how many slots are taken.
func (l *Log) Held() (bytes int64, slots int) { return l.bytes.Load(), len(l.slots) }

// Counted are the bodies that were dropped and the rows that were lost.
func (l *Log) Counted() (dropped, lost float64) {
	return testutil.ToFloat64(l.metrics.dropped), testutil.ToFloat64(l.metrics.lost)
}
