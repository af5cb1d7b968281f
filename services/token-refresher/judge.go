package tokenrefresher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

// mostLost is after how many answers that never came a refresh token is not sent again: it is tried once more, and not on and on.
const mostLost = 2

// failure is a refresh that brought no token.
type failure struct {
	why error
	// uncertain says that the refresh token may be spent, and lost that no answer came at all.
	uncertain, lost bool
	// slow says that the upstream had not answered in time.
	slow bool
	// refused says that the upstream answered, and did not want to refresh.
	refused bool
	// expired says that there is no access token that could be used meanwhile.
	expired bool
	// ends, unless empty, is why the user must authorize again.
	ends string
}

// judge says what a refresh that failed means for the grant.
func (r *Refresher) judge(grant *postgres.Grant, a *account, err error, slow bool) failure {
	f := failure{why: err, slow: slow, uncertain: mayBeSpent(err), refused: refuses(err), expired: a.hasEnded(r.Now())}
	// An upstream that fails or hangs will answer again; what a broken wire took with it never comes.
	_, answered := errors.AsType[*oauth2.Error](err)
	f.lost = f.uncertain && !slow && !answered && isOfTheWire(err)
	refusedFor := time.Duration(0)
	if grant.RefusedSince != nil {
		refusedFor = r.Now().Sub(*grant.RefusedSince)
	}
	switch {
	case contracts.IsPermanent(err) && grant.State == "uncertain":
		f.ends = "the grant was lost when a refresh broke off: " + err.Error()
	case contracts.IsPermanent(err):
		f.ends = err.Error()
	case a.unattended():
		// There is nobody to ask.
	case f.lost && grant.Lost+1 >= mostLost:
		f.ends = "the refresh token was sent twice, and no answer came: " + err.Error()
	case f.refused && f.expired && grant.Failures >= r.Settings.TroubleAfter && refusedFor >= r.Settings.RefusedFor:
		f.ends = fmt.Sprintf("the upstream has refused to refresh the token for %s, and the last one has ended: %v", refusedFor.Round(time.Second), err)
	}
	return f
}

// mayBeSpent reports whether a refresh that failed may have been carried out all the same. It is not when no connection came about, when the upstream refused, or when
// it asked for patience.
func mayBeSpent(err error) bool {
	if _, deferred := contracts.AsDeferral(err); deferred {
		return false
	}
	if refused, ok := errors.AsType[*oauth2.Error](err); ok {
		return refused.Executed()
	}
	if _, unknown := errors.AsType[*net.DNSError](err); unknown {
		return false
	}
	connection, ok := errors.AsType[*net.OpError](err)
	return !ok || connection.Op != "dial"
}

// refuses reports whether the upstream has answered that it does not refresh the token, in whatever words. It has not when the
// request broke off, when the upstream failed or asked for patience, or when it is the application that it does not know.
func refuses(err error) bool {
	if _, deferred := contracts.AsDeferral(err); deferred || isOfTheWire(err) {
		return false
	}
	status, code := 0, ""
	if refused, ok := errors.AsType[*oauth2.Error](err); ok {
		status, code = refused.Status, refused.Code
	} else if answer, ok := errors.AsType[*contracts.ResponseError](err); ok {
		status = answer.Status
	} else {
		_, panicked := errors.AsType[*panics.Error](err)
		return !panicked
	}
	notOfTheGrant := []string{
		"invalid_client", "unsupported_grant_type", "unsupported_token_type", "temporarily_unavailable", "slow_down", "server_error",
	}
	return status/100 != 5 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout && !slices.Contains(notOfTheGrant, code)
}

// isOfTheWire reports whether an error is of the way to the upstream, and not of what it said.
func isOfTheWire(err error) bool {
	_, sent := errors.AsType[*url.Error](err)
	var network net.Error
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	return sent || errors.As(err, &network) || errors.Is(err, panics.ErrLeftBehind) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// sendable reports why a token can't be sent; nil when it can.
func sendable(token contracts.Token) error {
	for what, text := range map[string]string{"access": token.AccessToken, "refresh": token.RefreshToken} {
		if i := strings.IndexFunc(text, func(c rune) bool { return c < 0x20 || c > 0x7e }); i >= 0 {
			return fmt.Errorf("the %s token that was granted has a character at byte %d that no token may have (RFC 6749 appendix A)", what, i)
		}
	}
	if token.AccessToken == "" {
		return errors.New("the provider returned no access token")
	}
	return nil
}

// wait is how long to leave a grant after a failure: longer from one to the next, or as long as the upstream says.
func (r *Refresher) wait(grant *postgres.Grant, f failure) time.Duration {
	wait := min(r.Settings.Backoff<<min(grant.Failures, 10), r.Settings.BackoffMost)
	wait += rand.N(wait/4 + 1)
	switch asks, deferred := contracts.AsDeferral(f.why); {
	case deferred:
		asked, _ := r.Settings.Waits.Of(asks.Delay, 0)
		return max(wait, asked)
	case f.slow:
		// It may be at work on the request still, and must be through with it before the token comes again.
		return max(wait, r.Settings.Call)
	case f.lost:
		// What it has come to is best found out soon.
		return min(wait, time.Second)
	}
	return wait
}
