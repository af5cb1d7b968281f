package httpserver

import (
	"net/netip"
	"sync"
)

// Client is what a share is counted by: an IPv4 address, or the /64 network of an IPv6 address, of which one host may use all addresses.
// The zero Client has no share and may take everything: it stands for a trusted proxy, which speaks for many clients.
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

// Share divides a resource among clients. A client may hold as much as is free after it has taken: alone half of the resource, and one of n
// greedy clients 1/(n+1) of it. So there is always room for the next client, without a quota for each.
type Share struct {
	mu   sync.Mutex
	free int64
	held map[Client]int64
}

// NewShare returns a share of a resource that has so many units.
func NewShare(units int64) *Share { return &Share{free: units, held: map[Client]int64{}} }

// Take takes n units for a client. It returns false when there are not as many, or when the client would hold more than what is left free.
func (s *Share) Take(client Client, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.free - n
	if left < 0 || client != (Client{}) && s.held[client]+n > max(left, 1) {
		return false
	}
	s.free = left
	s.held[client] += n
	return true
}

// Give gives n units back.
func (s *Share) Give(client Client, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += n
	if s.held[client] -= n; s.held[client] <= 0 {
		delete(s.held, client)
	}
}

// Free returns how many units nobody holds.
func (s *Share) Free() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free
}
