package budget

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// talkative tells of its budget in a way of its own.
type talkative struct{ contracts.Provider }

func (talkative) ReportRate(res *http.Response) (contracts.RateReport, bool) {
	used, of, ok := strings.Cut(res.Header.Get("X-Call-Limit"), "/")
	if !ok || used != of {
		return contracts.RateReport{}, false
	}
	return contracts.RateReport{Wait: -time.Second, Remaining: -1, Reset: 1000 * time.Hour}, true
}

func TestReportOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		status   int
		provider contracts.Provider
		header   string
		want     contracts.RateReport
	}{
		{"nothing", 200, nil, "", contracts.RateReport{}},
		{"retry after", 429, nil, "Retry-After: 17", contracts.RateReport{Wait: 17 * time.Second}},
		{"retry after an outage", 503, nil, "Retry-After: 17", contracts.RateReport{Wait: 17 * time.Second}},
		{"when to look for a result", 202, nil, "Retry-After: 17", contracts.RateReport{}},
		{
			"GitHub", 200, nil, "X-RateLimit-Remaining: 4999; X-RateLimit-Reset: 1795528800",
			contracts.RateReport{Remaining: 4999, Reset: 2 * time.Hour},
		},
		{"by the upstream's clock", 403, nil, "X-RateLimit-Remaining: 0; X-RateLimit-Reset: 1795528800; Date: Tue, " +
			"24 Nov 2026 13:59:00 GMT", contracts.RateReport{Reset: time.Minute}},
		{
			"in milliseconds", 200, nil, "X-RateLimit-Remaining: 3; X-RateLimit-Reset: 1795528800000",
			contracts.RateReport{Remaining: 3, Reset: 2 * time.Hour},
		},
		{
			"in seconds from now", 200, nil, "X-RateLimit-Remaining: 3; X-RateLimit-Reset: 12.5",
			contracts.RateReport{Remaining: 3, Reset: 12 * time.Second},
		},
		{
			"with one more hyphen", 200, nil, "X-Rate-Limit-Remaining: 3; X-Rate-Limit-Reset: 12",
			contracts.RateReport{Remaining: 3, Reset: 12 * time.Second},
		},
		{
			"in the past", 200, nil, "X-RateLimit-Remaining: 3; X-RateLimit-Reset: 1700000000",
			contracts.RateReport{Remaining: 3},
		},
		{"no reset", 200, nil, "X-RateLimit-Remaining: 3", contracts.RateReport{}},
		{"not a number", 200, nil, "X-RateLimit-Remaining: -3; X-RateLimit-Reset: 12", contracts.RateReport{}},
		{
			"the old draft", 200, nil, "RateLimit-Limit: 10; RateLimit-Remaining: 4; RateLimit-Reset: 9",
			contracts.RateReport{Remaining: 4, Reset: 9 * time.Second},
		},
		{
			"the draft goes first", 200, nil,
			"X-RateLimit-Remaining: 3; X-RateLimit-Reset: 12; RateLimit: \"a\"|r=1|t=5",
			contracts.RateReport{Remaining: 1, Reset: 5 * time.Second},
		},
		{
			"the scarcest of several", 200, nil, `RateLimit: "hour"|r=900|t=3000, "burst,|x=\""|r=2|t=1`,
			contracts.RateReport{Remaining: 2, Reset: time.Second},
		},
		{
			"without a policy", 200, nil, "RateLimit: limit=100, remaining=50, reset=5",
			contracts.RateReport{Remaining: 50, Reset: 5 * time.Second},
		},
		{
			"far away", 200, nil, "RateLimit: a|r=1|t=99999999999999999999",
			contracts.RateReport{Remaining: 1, Reset: contracts.LongestReset},
		},
		{
			"the provider knows", 200,
			talkative{},
			"X-Call-Limit: 40/40",
			contracts.RateReport{Reset: contracts.LongestReset},
		},
		{
			"the provider leaves it", 429,
			talkative{},
			"X-Call-Limit: 3/40; Retry-After: 1",
			contracts.RateReport{Wait: time.Second},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			res := &http.Response{StatusCode: test.status, Header: http.Header{}}
			for line := range strings.SplitSeq(test.header, "; ") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					res.Header.Add(name, strings.ReplaceAll(value, "|", ";"))
				}
			}
			now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
			if diff := cmp.Diff(test.want, ReportOf(test.provider, res, now)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzReportOf(f *testing.F) {
	f.Add("RateLimit", `"a";r=1;t=2, "b";r=0;t=9`, "")
	f.Add("X-RateLimit-Remaining", "0", "1795528800")
	f.Add("RateLimit", `"\";r=`, "x")
	f.Fuzz(func(t *testing.T, name, value, reset string) {
		header := http.Header{}
		header.Add(name, value)
		header.Add("X-RateLimit-Reset", reset)
		header.Add("RateLimit-Reset", reset)
		report := ReportOf(nil, &http.Response{StatusCode: 429, Header: header}, noon)
		if report != bounded(report) {
			t.Errorf("%q: %q gives %+v", name, value, report)
		}
	})
}
