package providertest

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// aDay is more than any delivery should be under way.
	aDay = 25 * time.Hour
	// fresh is how near to its reception the fixture signs a delivery.
	fresh = 10 * time.Minute
)

// stamped checks the time of signing, where a header has one: it is signed, and compared with the time of reception.
func (h hook) stamped(t *testing.T, delivery *contracts.WebhookRequest) {
	for name := range delivery.Header {
		changed, ok := later(delivery.Header.Get(name), delivery.ReceivedAt)
		if !ok {
			continue
		}
		req := cloned(delivery)
		req.Header.Set(name, changed)
		if h.verified(t, h.Credentials, req) == nil {
			// A header that the upstream does not sign may have a time, too.
			if lower := strings.ToLower(name); strings.Contains(lower, "timestamp") || strings.Contains(lower, "signature") {
				t.Errorf("a delivery is accepted though the time in its header %s was changed: the time belongs to what is signed. "+
					"If the upstream does not sign it, leave the header out of the fixture's delivery", name)
			}
			continue
		}
		for when, by := range map[string]time.Duration{"after": aDay, "before": -aDay} {
			req := cloned(delivery)
			req.ReceivedAt = req.ReceivedAt.Add(by)
			if h.verified(t, h.Credentials, req) == nil {
				t.Errorf("a delivery is accepted that was received %s %s the time in its header %s: compare that with req.ReceivedAt, not with the clock, "+
					"and refuse what is older or newer than some minutes", by.Abs(), when, name)
			}
		}
	}
}

var unixTime = regexp.MustCompile(`[0-9]{10,13}`)

// later is a header whose time is the next one, if it has a time that is near the reception: seconds or milliseconds since 1970, or RFC 3339.
func later(header string, received time.Time) (changed string, ok bool) {
	isNear := func(at time.Time) bool { return received.Sub(at).Abs() < fresh }
	if at, err := time.Parse(time.RFC3339, header); err == nil && isNear(at) {
		return at.Add(time.Second).Format(time.RFC3339), true
	}
	for _, at := range unixTime.FindAllStringIndex(header, -1) {
		number, err := strconv.ParseInt(header[at[0]:at[1]], 10, 64)
		if err == nil && (isNear(time.Unix(number, 0)) || isNear(time.UnixMilli(number))) {
			return header[:at[0]] + strconv.FormatInt(number+1, 10) + header[at[1]:], true
		}
	}
	return "", false
}
