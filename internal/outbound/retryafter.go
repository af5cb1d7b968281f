package outbound

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestRetryAfter is the most that an upstream is believed: a wrong clock or a typing error of its must not stop an integration for days.
const longestRetryAfter = 600 * time.Second

// retryAfter reads how long the upstream asks to be left alone: seconds, also with fractions, or an HTTP date. It is 600 s at most, and false when there is
// no such header, when nobody can read it, or when its date is past.
func retryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if isDecimal(value) {
		seconds, err := strconv.ParseFloat(value, 64)
		// What is too large for a float is certainly above the cap.
		if err != nil || seconds >= longestRetryAfter.Seconds() {
			return longestRetryAfter, true
		}
		return time.Duration(seconds * float64(time.Second)), true
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	// A date means a distance on the upstream's clock, which may not be ours.
	if theirs, err := http.ParseTime(header.Get("Date")); err == nil {
		now = theirs
	}
	if !until.After(now) {
		return 0, false
	}
	return min(until.Sub(now), longestRetryAfter), true
}

// isDecimal reports whether text is digits with at most one point among them: no sign, no exponent, no "Inf".
func isDecimal(text string) bool {
	whole, fraction, _ := strings.Cut(text, ".")
	return whole != "" && isDigits(whole) && isDigits(fraction)
}

func isDigits(text string) bool {
	return strings.Trim(text, "0123456789") == ""
}
