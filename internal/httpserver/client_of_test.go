package httpserver_test

import (
	"net/netip"
	"testing"

	"github.com/tributaryhq/tributary/internal/httpserver"
)

func TestClientOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		one, other string
		same       bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::2:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		one, other := httpserver.ClientOf(netip.MustParseAddr(tt.one)), httpserver.ClientOf(netip.MustParseAddr(tt.other))
		if (one == other) != tt.same {
			t.Errorf("%s and %s are the same client: %t", tt.one, tt.other, !tt.same)
		}
	}
	if httpserver.ClientOf(netip.Addr{}) != (httpserver.Client{}) {
		t.Error("no address is a client")
	}
}
