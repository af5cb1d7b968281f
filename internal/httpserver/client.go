package httpserver

import (
	"net/http"
	"net/netip"
	"strings"
)

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
