package contracts

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// LongestRetryAfter is the most that a Retry-After is believed: a wrong clock or a typing error of an upstream must
	// not stop an integration for days.
	LongestRetryAfter = 600 * time.Second
	// LongestReset is how far away the start of an upstream's next count is believed to be: no more than a day, which
	// is the longest count that upstreams keep whose budget is told in headers. One that is longer says so again
	// tomorrow.
	LongestReset = 24 * time.Hour

	// Numbers from sinceEpoch on are seconds since 1970, of 2001 and later, and not 31 years; from sinceEpochMillis on
	// they are milliseconds, and from noEpoch on neither.
	sinceEpoch       = 1_000_000_000
	sinceEpochMillis = 1_000_000_000_000
	noEpoch          = 1_000_000_000_000_000
)

// ReadRetryAfter reads how long the sender of an answer asks to be left alone, from Retry-After: seconds, also with
// fractions, or an HTTP date. A date, and a number that can only be a time since 1970, are distances on the sender's
// clock, which its Date header shows; now stands in for that. The result is at most [LongestRetryAfter]. It is false
// when there is no such header, when it can't be read, or when its date is past.
func ReadRetryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	now = senderTime(header, now)
	if isDecimal(value) {
		seconds, err := strconv.ParseFloat(value, 64)
		if err == nil && seconds >= sinceEpoch && seconds < noEpoch {
			return positive(min(instantOf(int64(seconds)).Sub(now), LongestRetryAfter))
		}
		// What is too large for a float is certainly above the limit.
		if err != nil || seconds >= LongestRetryAfter.Seconds() {
			return LongestRetryAfter, true
		}
		return time.Duration(seconds * float64(time.Second)), true
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return positive(min(until.Sub(now), LongestRetryAfter))
}

// ReadReset reads the time until an upstream starts a new count, from the value of a header such as X-RateLimit-Reset.
// Some upstreams give seconds from now, others seconds or milliseconds since 1970. Of the latter the distance on the
// sender's clock counts, as in [ReadRetryAfter]. The result is at most [LongestReset]. It is false when the value is
// not a number.
func ReadReset(header http.Header, value string, now time.Time) (time.Duration, bool) {
	value, _, _ = strings.Cut(strings.TrimSpace(value), ".")
	if value == "" || !isDigits(value) {
		return 0, false
	}
	number, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return LongestReset, true
	case number >= sinceEpoch:
		return min(max(instantOf(number).Sub(senderTime(header, now)), 0), LongestReset), true
	default:
		return min(time.Duration(number)*time.Second, LongestReset), true
	}
}

// instantOf is a time that is given as seconds or milliseconds since 1970.
func instantOf(number int64) time.Time {
	if number >= sinceEpochMillis {
		return time.UnixMilli(number)
	}
	return time.Unix(number, 0)
}

// senderTime is what the sender's clock showed when it answered, if it says so.
func senderTime(header http.Header, now time.Time) time.Time {
	if theirs, err := http.ParseTime(header.Get("Date")); err == nil {
		return theirs
	}
	return now
}

func positive(d time.Duration) (time.Duration, bool) { return max(d, 0), d > 0 }

// isDecimal reports whether text is digits with at most one point among them: no sign, no exponent, no "Inf".
func isDecimal(text string) bool {
	whole, fraction, _ := strings.Cut(text, ".")
	return whole != "" && isDigits(whole) && isDigits(fraction)
}

func isDigits(text string) bool {
	return strings.Trim(text, "0123456789") == ""
}
