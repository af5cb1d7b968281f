package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Error is an answer of GitHub that is not what was asked for.
type Error struct {
	// Request is its method and path.
	Request string
	// Status is that of the answer.
	Status int
	// Message is GitHub's, or empty.
	Message string
	// RequestID is what GitHub's support asks for, or empty.
	RequestID string
	// IsRateLimit says that GitHub asks for fewer requests.
	IsRateLimit bool
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.Request, e.Status, http.StatusText(e.Status))
	// The message may be long, and whoever stores an error cuts its end.
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// failure turns an answer into an error: a deferral when the budget is used up (the platform's client makes it one itself, and no such answer gets here), a permanent one when waiting can't help, else a plain one.
func (c *client) failure(what string, res *http.Response, body []byte, at time.Time) error {
	failed := &Error{
		Request: what, Status: res.StatusCode, Message: c.redacted(messageOf(body)), RequestID: res.Header.Get("X-GitHub-Request-Id"),
		IsRateLimit: isRateLimit(res.StatusCode, res.Header, body),
	}
	repository := c.metadata.Owner + "/" + c.metadata.Repo
	switch {
	case failed.IsRateLimit:
		return contracts.RetryAfter(waitFor(res.Header, at), failed)
	case res.StatusCode == http.StatusUnauthorized:
		return contracts.Permanent(fmt.Errorf("GitHub refuses the token: it is wrong, expired or revoked; make a new one and update the integration's credentials: %w", failed))
	case res.StatusCode == http.StatusForbidden:
		return contracts.Permanent(fmt.Errorf("the token may not read issues of repository %s; give it the permission, or authorize it for the organization: %w", repository, failed))
	case res.StatusCode == http.StatusNotFound:
		return contracts.Permanent(fmt.Errorf("repository %s not found, or the token can't see it: %w", repository, failed))
	case res.StatusCode == http.StatusGone:
		return contracts.Permanent(fmt.Errorf("repository %s has no issues: they are disabled or gone: %w", repository, failed))
	case res.StatusCode >= 500 || res.StatusCode == http.StatusRequestTimeout || res.StatusCode < 400:
		return failed
	default:
		return contracts.Permanent(failed)
	}
}

// redacted keeps the token out of what an upstream echoes.
func (c *client) redacted(text string) string {
	if c.token == "" {
		return text
	}
	return strings.ReplaceAll(text, c.token, "[REDACTED]")
}

// messageOf is GitHub's message. Other bodies, a proxy's page for instance, say nothing.
func messageOf(body []byte) string {
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	return said.Message
}

// isRateLimit tells a limit, which comes as 429 or 403, from a missing permission, which is a 403 too.
func isRateLimit(status int, h http.Header, body []byte) bool {
	switch status {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		message := strings.ToLower(messageOf(body))
		return h.Get("Retry-After") != "" || h.Get("X-RateLimit-Remaining") == "0" ||
			strings.Contains(message, "rate limit") || strings.Contains(message, "abuse")
	default:
		return false
	}
}

// RetryDelay tells when a budget that is used up comes back, which stands in a header of GitHub's own. How long to wait otherwise is left to the core.
func (Provider) RetryDelay(err error, _, _ int) (time.Duration, bool) {
	answer, ok := errors.AsType[*contracts.ResponseError](err)
	if !ok || !isRateLimit(answer.Status, answer.Header, answer.Excerpt) {
		return 0, false
	}
	at, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		at = time.Now()
	}
	return waitFor(answer.Header, at), true
}

// IsRetryable leaves all to the core.
func (Provider) IsRetryable(error) contracts.Verdict { return contracts.VerdictDefault }

// waitFor is how long GitHub wants to be left alone, by its own clock: its Retry-After, else until the budget is back, else a minute, as its documentation asks.
func waitFor(h http.Header, at time.Time) time.Duration {
	const least = time.Second
	if wait, asked := contracts.ReadRetryAfter(h, at); asked {
		return max(wait, least)
	}
	if h.Get("X-RateLimit-Remaining") == "0" {
		if wait, told := contracts.ReadReset(h, h.Get("X-RateLimit-Reset"), at); told {
			return max(wait, least)
		}
	}
	return time.Minute
}

// isGone reports whether a record is not there, or not any more.
func isGone(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && (failed.Status == http.StatusNotFound || failed.Status == http.StatusGone)
}
