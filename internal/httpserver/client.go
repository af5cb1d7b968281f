package httpserver

import (
	"net/http"
	"net/netip"
	"strings"
)

// Client is what a share is counted by: an IPv4 address, or the /64 network of an IPv6 address, of which one host may
// use all addresses. The zero Client stands for a trusted proxy, which speaks for many clients.
type Client netip.Prefix

const (
	wholeIPv4 = 32
	siteIPv6  = 64
)

// ClientOf returns the client of an address.
func ClientOf(address netip.Addr) Client {
	address = address.Unmap().WithZone("")
	bits := wholeIPv4
	if address.Is6() {
		bits = siteIPv6
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return Client{}
	}
	return Client(prefix)
}

type connKey struct{}

// Client returns the client of a request: the peer, or, where the peer is a trusted proxy, the last address in X-Forwarded-For that is none.
func (s *Server) Client(r *http.Request) Client {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		return Client{}
	}
	address := c.peer
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0 && s.trusts(address); i-- {
		for rest := lines[i]; rest != "" && s.trusts(address); {
			at := strings.LastIndexByte(rest, ',')
			next, err := netip.ParseAddr(strings.TrimSpace(rest[at+1:]))
			if err != nil {
				return ClientOf(address)
			}
			address, rest = next.Unmap().WithZone(""), rest[:max(at, 0)]
		}
	}
	return ClientOf(address)
}

// Arrived says that the request is there with its body: from here on the client keeps nothing waiting.
func Arrived(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		c.busy()
	}
}

func (s *Server) trusts(address netip.Addr) bool {
	return s.config.Trusted != nil && s.config.Trusted(address)
}
