package contracts

import (
	"strconv"
	"strings"
	"time"
)

// startOfTime is before every RFC 3339 timestamp of whatever offset, in Unix seconds: the first second of the year −1.
const startOfTime = -62198755200

// parseInstant reads an RFC 3339 timestamp as the seconds since startOfTime and the digits of its fraction, without
// zeros at the end. Package time is both too narrow (it ends at nanoseconds) and too wide (it takes commas, one-digit
// hours and offsets of days).
func parseInstant(text string) (seconds int64, fraction string, ok bool) {
	const local = "2006-01-02T15:04:05"
	text = strings.ToUpper(text)
	if len(text) <= len(local) || text[len("2006-01-02T15")] != ':' {
		return 0, "", false
	}
	t, err := time.Parse(local, text[:len(local)])
	if err != nil {
		return 0, "", false
	}
	rest := text[len(local):]
	if after, found := strings.CutPrefix(rest, "."); found {
		n := 0
		for n < len(after) && '0' <= after[n] && after[n] <= '9' {
			n++
		}
		if n == 0 {
			return 0, "", false
		}
		fraction, rest = strings.TrimRight(after[:n], "0"), after[n:]
	}
	offset, ok := parseOffset(rest)
	return t.Unix() - offset - startOfTime, fraction, ok
}

// parseOffset reads Z or ±hh:mm as seconds east of UTC.
func parseOffset(text string) (int64, bool) {
	if text == "Z" {
		return 0, true
	}
	if len(text) != len("+00:00") || text[3] != ':' || text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	hours, errHours := strconv.ParseUint(text[1:3], 10, 8)
	minutes, errMinutes := strconv.ParseUint(text[4:], 10, 8)
	if errHours != nil || errMinutes != nil || hours > 23 || minutes > 59 {
		return 0, false
	}
	offset := int64(hours*3600 + minutes*60)
	if text[0] == '-' {
		offset = -offset
	}
	return offset, true
}
