package contracts

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestReadRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const none = -1
	for _, test := range []struct {
		name, value, date string
		want              time.Duration
	}{
		{name: "nothing", want: none},
		{name: "seconds", value: "7", want: 7 * time.Second},
		{name: "at once", value: "0", want: 0},
		{name: "a fraction", value: " 1.25 ", want: 1250 * time.Millisecond},
		{name: "a point at the end", value: "2.", want: 2 * time.Second},
		{name: "an hour is too long", value: "3600", want: 10 * time.Minute},
		{name: "longer than a duration can be", value: strings.Repeat("9", 40), want: 10 * time.Minute},
		{name: "larger than a float can be", value: strings.Repeat("9", 400), want: 10 * time.Minute},
		{name: "before now", value: "-1", want: none},
		{name: "an exponent", value: "1e3", want: none},
		{name: "hexadecimal", value: "0x10", want: none},
		{name: "no number", value: "NaN", want: none},
		{name: "infinite", value: "Inf", want: none},
		{name: "a point alone", value: ".", want: none},
		{name: "a fraction alone", value: ".5", want: none},
		{name: "two points", value: "1.2.3", want: none},
		{name: "words", value: "soon", want: none},
		{name: "a date", value: "Sun, 01 Mar 2026 12:00:30 GMT", want: 30 * time.Second},
		{
			name: "a date in the second form of RFC 9110", value: "Sunday, 01-Mar-26 12:00:30 GMT",
			want: 30 * time.Second,
		},
		{name: "a date in the third form of RFC 9110", value: "Sun Mar  1 12:00:30 2026", want: 30 * time.Second},
		{name: "a past date", value: "Sun, 01 Mar 2026 11:59:59 GMT", want: none},
		{name: "now", value: "Sun, 01 Mar 2026 12:00:00 GMT", want: none},
		{name: "seconds since 1970", value: "1772366430", want: 30 * time.Second},
		{name: "milliseconds since 1970", value: "1772366430000", want: 30 * time.Second},
		{name: "seconds since 1970, past", value: "1772366399", want: none},
		{
			name: "milliseconds since 1970 on a clock that is an hour slow", value: "1772362830000",
			date: "Sun, 01 Mar 2026 11:00:00 GMT", want: 30 * time.Second,
		},
		{name: "next year", value: "Mon, 01 Mar 2027 12:00:00 GMT", want: 10 * time.Minute},
		{
			name:  "on a clock that is an hour slow",
			value: "Sun, 01 Mar 2026 11:00:30 GMT", date: "Sun, 01 Mar 2026 11:00:00 GMT",
			want: 30 * time.Second,
		},
		{
			name:  "on a clock that is an hour fast",
			value: "Sun, 01 Mar 2026 13:00:30 GMT", date: "Sun, 01 Mar 2026 13:00:00 GMT",
			want: 30 * time.Second,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			for name, value := range map[string]string{"Retry-After": test.value, "Date": test.date} {
				if value != "" {
					header.Set(name, value)
				}
			}
			got, ok := ReadRetryAfter(header, now)
			if !ok {
				got = none
			}
			if got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestReadReset(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const none = -1
	for value, want := range map[string]time.Duration{
		"": none, "soon": none, "-4": none, "0": 0, "12": 12 * time.Second, " 12.9 ": 12 * time.Second,
		"1772366430": 30 * time.Second, "1772366430000": 30 * time.Second, "1772366399": 0,
		"1872366430": LongestReset, "1872366430000": LongestReset, "999999999": LongestReset,
		strings.Repeat("9", 40): LongestReset,
	} {
		got, ok := ReadReset(http.Header{}, value, now)
		if !ok {
			got = none
		}
		if got != want {
			t.Errorf("%q is %s, want %s", value, got, want)
		}
	}
	if got, _ := ReadReset(http.Header{"Date": {"Sun, 01 Mar 2026 11:00:00 GMT"}}, "1772362830",
		now); got != 30*time.Second {
		t.Errorf("on a clock that is an hour slow it is %s, want 30s", got)
	}
}

func FuzzReadRetryAfter(f *testing.F) {
	for _, seed := range []string{
		"", "1", "0.5", "1e9", "Inf", "-3", strings.Repeat("9", 500),
		"Sun, 01 Mar 2026 12:00:30 GMT",
	} {
		f.Add(seed, "")
	}
	f.Add("Sun, 01 Mar 2026 12:00:30 GMT", "Mon, 01 Jan 0001 00:00:00 GMT")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value, date string) {
		delay, ok := ReadRetryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, now)
		if delay < 0 || delay > LongestRetryAfter || !ok && delay != 0 {
			t.Errorf("%q at %q is %v, %v", value, date, delay, ok)
		}
	})
}
