package budget

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// ReportOf is what an answer says about the upstream's budget: by the provider's knowledge, else by the usual headers.
func ReportOf(provider contracts.Provider, res *http.Response, now time.Time) contracts.RateReport {
	if reporter, ok := provider.(contracts.RateReporter); ok {
		if report, decided := reporter.ReportRate(res); decided {
			return bounded(report)
		}
	}
	report := countOf(res.Header, now)
	// With a success, Retry-After means something else: when to look for the result of what was accepted.
	if res.StatusCode >= http.StatusBadRequest {
		report.Wait, _ = contracts.ReadRetryAfter(res.Header, now)
	}
	return bounded(report)
}

func bounded(r contracts.RateReport) contracts.RateReport {
	r.Wait, r.Reset, r.Remaining = min(max(r.Wait, 0), contracts.LongestReset),
		min(max(r.Reset, 0), contracts.LongestReset), max(r.Remaining, 0)
	return r
}

// countOf reads how many requests an upstream still allows and until when: from RateLimit as the IETF's draft has it
// since its eighth version, from RateLimit-* as it had it before, or from the X-RateLimit-* and X-Rate-Limit-* that
// were there first.
func countOf(header http.Header, now time.Time) contracts.RateReport {
	if values := header.Values("RateLimit"); len(values) > 0 {
		if report, ok := structured(strings.Join(values, ",")); ok {
			return report
		}
	}
	for _, prefix := range []string{"RateLimit-", "X-RateLimit-", "X-Rate-Limit-"} {
		remaining, ok := wholeNumber(header.Get(prefix + "Remaining"))
		if !ok {
			continue
		}
		if reset, ok := contracts.ReadReset(header, header.Get(prefix+"Reset"), now); ok {
			return contracts.RateReport{Remaining: int(remaining), Reset: reset}
		}
	}
	return contracts.RateReport{}
}

// structured reads the list of the RateLimit header: "policy";r=remaining;t=seconds, of which the scarcest counts, or
// the form without policies.
func structured(value string) (contracts.RateReport, bool) {
	var scarcest contracts.RateReport
	found := false
	single := map[string]int64{}
	for _, item := range splitOutside(value, ',') {
		parameters := map[string]int64{}
		for i, part := range splitOutside(item, ';') {
			name, text, _ := strings.Cut(part, "=")
			name = strings.ToLower(strings.TrimSpace(name))
			number, ok := wholeNumber(strings.TrimSpace(text))
			switch {
			case ok && i == 0:
				single[name] = number
			case ok:
				parameters[name] = number
			}
		}
		remaining, hasRemaining := parameters["r"]
		reset, hasReset := parameters["t"]
		if report := (contracts.RateReport{Remaining: int(remaining), Reset: seconds(reset)}); hasRemaining &&
			hasReset && (!found || scarcer(report, scarcest)) {
			scarcest, found = report, true
		}
	}
	remaining, hasRemaining := single["remaining"]
	reset, hasReset := single["reset"]
	if !found && hasRemaining && hasReset {
		return contracts.RateReport{Remaining: int(remaining), Reset: seconds(reset)}, true
	}
	return scarcest, found
}

// scarcer reports whether a leaves fewer requests than b, or as few for longer.
func scarcer(a, b contracts.RateReport) bool {
	return a.Remaining < b.Remaining || a.Remaining == b.Remaining && a.Reset > b.Reset
}

// splitOutside splits at a separator that is not inside a quoted string.
func splitOutside(text string, separator rune) []string {
	quoted, escaped := false, false
	return strings.FieldsFunc(text, func(r rune) bool {
		switch {
		case escaped:
			escaped = false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		}
		return r == separator && !quoted
	})
}

// wholeNumber reads digits; what is too large for a number is as large as can be.
func wholeNumber(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	if text == "" || !isDigits(text) {
		return 0, false
	}
	number, err := strconv.ParseInt(text, 10, 64)
	return number, err == nil || number > 0
}

func seconds(n int64) time.Duration {
	return time.Duration(min(n, int64(contracts.LongestReset/time.Second))) * time.Second
}

func isDigits(text string) bool {
	return strings.Trim(text, "0123456789") == ""
}
