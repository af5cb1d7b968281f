package outbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Egress is how requests leave.
type Egress struct {
	// Networks are the places beside the public internet that requests may go to.
	Networks Networks
	// Proxy is asked for every connection, and may be nil. The variables HTTP_PROXY and the like are not read: behind a
	// proxy that somebody set for another program, nobody would guard where requests go.
	Proxy *url.URL
}

// NewTransport returns a transport that reaches allowed addresses only. An address is judged when its name has been
// resolved and just before the connection is made, so that neither a name that resolves otherwise the second time nor a
// redirect gets around it. Behind a proxy, which resolves names itself, it is for the proxy to refuse them; addresses
// that stand in a URL are refused here all the same.
func NewTransport(egress Egress) *http.Transport { return newTransport(egress, nil) }

func newTransport(egress Egress, resolver *net.Resolver) *http.Transport {
	plain := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Resolver: resolver}
	guarded := *plain
	guarded.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		resolved, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %q can't be judged", ErrNetwork, address)
		}
		return egress.Networks.check(resolved.Addr())
	}
	transport := &http.Transport{
		DialContext: guarded.DialContext,
		// An integration's worker slots all talk to one host, and lose a handshake for each connection that is not
		// kept.
		MaxIdleConns: 1000, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 10 * time.Second,
		// An upstream that takes a request and never answers ends here, also where the caller set no deadline.
		ResponseHeaderTimeout: 2 * time.Minute, ExpectContinueTimeout: time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
	}
	if egress.Proxy != nil {
		transport.DialContext = plain.DialContext
		transport.Proxy = func(req *http.Request) (*url.URL, error) {
			if literal, err := netip.ParseAddr(req.URL.Hostname()); err == nil {
				if err := egress.Networks.check(literal); err != nil {
					return nil, err
				}
			}
			return egress.Proxy, nil
		}
	}
	return transport
}
