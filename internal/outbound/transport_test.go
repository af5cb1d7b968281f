package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestNetworks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		address string
		// refused is what the refusal says of the address; empty for a public one.
		refused string
		// opened are the lists that allow it all the same.
		opened []string
	}{
		{address: "93.184.215.14"},
		{address: "8.8.8.8"},
		{address: "2606:4700::6810:84e5"},
		{address: "::ffff:93.184.215.14"},
		{address: "64:ff9b::5db8:d70e"}, // NAT64 of a public address
		{address: "2002:5db8:d70e::1"},  // 6to4 of one
		{address: "127.0.0.1", refused: "this machine", opened: []string{"loopback", "127.0.0.1", "127.0.0.0/8"}},
		{address: "127.8.9.10", refused: "this machine", opened: []string{"loopback"}},
		{address: "::1", refused: "this machine", opened: []string{"loopback", "::1/128"}},
		{address: "0.0.0.0", refused: "this machine", opened: []string{"0.0.0.0/8"}},
		{address: "::", refused: "this machine", opened: []string{"::/128"}},
		{address: "::ffff:127.0.0.1", refused: "this machine", opened: []string{"loopback"}},
		{address: "64:ff9b::7f00:1", refused: "this machine", opened: []string{"loopback", "64:ff9b::/96"}},
		{address: "2002:7f00:1::", refused: "this machine", opened: []string{"loopback"}},
		{address: "::7f00:1", refused: "this machine", opened: []string{"loopback"}},
		{address: "10.1.2.3", refused: "a private address", opened: []string{"private", "10.0.0.0/8", "10.1.2.3"}},
		{address: "172.31.255.255", refused: "a private address", opened: []string{"private"}},
		{address: "172.32.0.1"},
		{address: "192.168.1.1", refused: "a private address", opened: []string{"private"}},
		{address: "100.64.0.1", refused: "a private address", opened: []string{"private"}},
		{address: "fd12:3456::1", refused: "a private address", opened: []string{"private", "fd00::/8"}},
		{address: "::ffff:10.1.2.3", refused: "a private address", opened: []string{"private"}},
		{address: "64:ff9b::a01:203", refused: "a private address", opened: []string{"private"}},
		{address: "2002:a01:203::1", refused: "a private address", opened: []string{"private"}},
		{address: "169.254.1.1", refused: "a link-local address", opened: []string{"169.254.0.0/16"}},
		{address: "fe80::1%eth0", refused: "a link-local address", opened: []string{"fe80::/10"}},
		{address: "169.254.169.254", refused: "metadata service", opened: []string{"169.254.169.254"}},
		{address: "169.254.170.2", refused: "metadata service", opened: []string{"169.254.170.2/32"}},
		{address: "100.100.100.200", refused: "metadata service", opened: []string{"100.100.100.200/32"}},
		{address: "168.63.129.16", refused: "metadata service", opened: []string{"168.63.129.16"}},
		{address: "fd00:ec2::254", refused: "metadata service", opened: []string{"fd00:ec2::/32"}},
		{address: "64:ff9b::a9fe:a9fe", refused: "metadata service", opened: []string{"169.254.169.254"}},
		{address: "224.0.0.1", refused: "a multicast address", opened: []string{"224.0.0.0/4"}},
		{address: "ff02::1", refused: "a multicast address", opened: []string{"ff00::/8"}},
		{address: "255.255.255.255", refused: "special purposes", opened: []string{"240.0.0.0/4"}},
		{address: "192.0.2.1", refused: "special purposes", opened: []string{"192.0.2.0/24"}},
		{address: "198.18.0.1", refused: "special purposes", opened: []string{"198.18.0.0/15"}},
		{address: "2001::1", refused: "special purposes", opened: []string{"2001::/32"}}, // Teredo
		{address: "2001:db8::1", refused: "special purposes", opened: []string{"2001:db8::/32"}},
	} {
		t.Run(test.address, func(t *testing.T) {
			t.Parallel()
			address := netip.MustParseAddr(test.address)
			for _, list := range []string{"", "203.0.113.0/24"} {
				err := networks(t, list).check(address)
				if (err != nil) != (test.refused != "") || err != nil && !strings.Contains(err.Error(), test.refused) {
					t.Errorf("with %q: %v; want %q", list, err, test.refused)
				}
				if err != nil && (!errors.Is(err, ErrNetwork) || !contracts.IsPermanent(err) ||
					!strings.Contains(err.Error(), "--allow-networks")) {
					t.Errorf("with %q: %v", list, err)
				}
			}
			for _, list := range []string{"loopback", "private"} {
				opens := strings.Contains(strings.Join(test.opened, " "), list)
				if err := networks(t, list).check(address); test.refused != "" && (err == nil) != opens {
					t.Errorf("with %q: %v", list, err)
				}
			}
			for _, list := range test.opened {
				if err := networks(t, list).check(address); err != nil {
					t.Errorf("with %q: %v", list, err)
				}
			}
		})
	}
}

func networks(t *testing.T, list string) Networks {
	t.Helper()
	n, err := ParseNetworks(strings.Split(list, ","))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParseNetworksRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"localhost", "10.0.0.0/33", "10.0.0", "*", "Private"} {
		if _, err := ParseNetworks([]string{text}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is read as networks: %v", text, err)
		}
	}
}

// resolver answers every question for an IPv4 address with the next of its addresses, the last one for ever.
type resolver struct {
	mu        sync.Mutex
	addresses []string
	asked     int
}

func newResolver(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	server, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	r := &resolver{addresses: addresses}
	go func() {
		for buffer := make([]byte, 512); ; {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer, err := r.answer(buffer[:n]); err == nil {
				_, _ = server.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func (r *resolver) answer(raw []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		r.mu.Lock()
		address := netip.MustParseAddr(r.addresses[min(r.asked, len(r.addresses)-1)])
		r.asked++
		r.mu.Unlock()
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: address.As4()},
		}}
	}
	return m.Pack()
}

// inside is a server that must not be reached.
func inside(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was reached", r.URL)
	}))
	t.Cleanup(s.Close)
	return s
}

func ask(t *testing.T, transport http.RoundTripper, url string) (status int, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	return res.StatusCode, nil
}

func wantRefused(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrNetwork) || !contracts.IsPermanent(err) {
		t.Errorf("it came to %v, want a refusal", err)
	}
}

func TestTransportRefuses(t *testing.T) {
	t.Parallel()
	server := inside(t)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{
		"an address":              server.URL,
		"a name of this machine":  "http://localhost:" + port,
		"an address in IPv6":      "http://[::ffff:127.0.0.1]:" + port,
		"the unspecified address": "http://0.0.0.0:" + port,
		"a name that leads here":  "http://upstream.example:" + port,
		"https":                   "https://upstream.example:" + port,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ask(t, newTransport(Egress{}, newResolver(t, "127.0.0.1")), url)
			wantRefused(t, err)
		})
	}
	t.Run("through the whole chain", func(t *testing.T) {
		t.Parallel()
		chain := Config{Base: NewTransport(Egress{})}.Chain(Target{Integration: func() *contracts.Integration {
			return nil
		}})
		_, err := ask(t, chain, server.URL)
		wantRefused(t, err)
	})
}

// A name that leads to an allowed address the first time, and elsewhere the second.
func TestTransportRefusesRebinding(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	transport := newTransport(Egress{Networks: networks(t, "127.0.0.1")}, newResolver(t, "127.0.0.1", "127.0.0.2"))
	transport.DisableKeepAlives = true
	if status, err := ask(t, transport, "http://upstream.example:"+port); status != http.StatusOK {
		t.Fatalf("the allowed address was not reached: %v", err)
	}
	_, err = ask(t, transport, "http://upstream.example:"+port)
	wantRefused(t, err)
}

func TestTransportRefusesRedirects(t *testing.T) {
	t.Parallel()
	target := inside(t)
	_, port, err := net.SplitHostPort(target.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	outside := httptest.NewServer(http.RedirectHandler("http://127.0.0.2:"+port, http.StatusFound))
	t.Cleanup(outside.Close)
	_, err = ask(t, NewTransport(Egress{Networks: networks(t, "127.0.0.1")}), outside.URL)
	wantRefused(t, err)
}

func TestTransportThroughAProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI)
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := NewTransport(Egress{Proxy: address})
	if status, err := ask(t, transport, "http://upstream.example/path"); status != http.StatusOK {
		t.Errorf("the proxy was not asked: %v", err)
	}
	_, err = ask(t, transport, "http://10.1.2.3/secret")
	wantRefused(t, err)
	if len(asked) != 1 || asked[0] != "http://upstream.example/path" {
		t.Errorf("the proxy was asked for %q", asked)
	}
	// The environment's proxy would not be reached; nor is it tried.
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(target.Close)
	if status, err := ask(t, NewTransport(Egress{Networks: networks(t, "loopback")}),
		target.URL); status != http.StatusOK {
		t.Errorf("without a proxy: %v", err)
	}
}
