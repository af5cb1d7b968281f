package outbound

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
)

// witness notes on the call whether an attempt may have had an effect that nobody was told of. It is next to the base,
// and no later attempt undoes what it has noted.
type witness struct{ next http.RoundTripper }

func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	c := callOf(req)
	// A panic leaves it so.
	before := c.uncertain
	c.uncertain = true
	res, err := w.next.RoundTrip(req)
	if err != nil && nothingSent(err) || err == nil && isDefinite(res.StatusCode, c.deduped) {
		c.uncertain = before
	}
	return res, err
}

// nothingSent reports whether an error came before the first byte could leave.
func nothingSent(err error) bool {
	var distrusted *tls.CertificateVerificationError
	var unresolved *net.DNSError
	if errors.As(err, &distrusted) || errors.As(err, &unresolved) {
		return true
	}
	var connection *net.OpError
	return errors.As(err, &connection) && (connection.Op == "dial" || connection.Op == "proxyconnect")
}

// isDefinite reports whether an answer says for sure that the request had its effect, or that it had none.
func isDefinite(status int, deduped bool) bool {
	switch status {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return true
	case http.StatusRequestTimeout:
		return false
	case http.StatusConflict:
		// An upstream that recognises keys says so when the first request with one is still under way.
		return !deduped
	}
	return status < http.StatusInternalServerError
}
