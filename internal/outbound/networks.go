package outbound

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Networks are the places beside the public internet that requests may go to. An integration's URLs are data: without a
// guard, whoever may write metadata could have the platform ask its own network, or the cloud's metadata service for
// the machine's credentials. The zero value allows the public internet alone.
type Networks struct{ allowed []netip.Prefix }

// The words that stand for networks.
const (
	// LoopbackNetworks is this machine.
	LoopbackNetworks = "loopback"
	// PrivateNetworks are those of RFC 1918, RFC 4193 and RFC 6598. Metadata services among them need a CIDR of their
	// own.
	PrivateNetworks = "private"
)

// ParseNetworks reads a list of CIDRs, addresses and the words "loopback" and "private".
func ParseNetworks(list []string) (Networks, error) {
	var n Networks
	for _, text := range list {
		switch text = strings.TrimSpace(text); text {
		case "":
		case LoopbackNetworks:
			n.allowed = append(n.allowed, loopback()...)
		case PrivateNetworks:
			n.allowed = append(n.allowed, private()...)
		default:
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				address, addressErr := netip.ParseAddr(text)
				if addressErr != nil {
					return Networks{}, fmt.Errorf("%q is neither a network such as 10.1.0.0/16, nor %q, nor %q", text,
						PrivateNetworks, LoopbackNetworks)
				}
				prefix = netip.PrefixFrom(address, address.BitLen())
			}
			n.allowed = append(n.allowed, prefix.Masked())
		}
	}
	return n, nil
}

// Contain reports whether an address is in one of the networks.
func (n Networks) Contain(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	return slices.ContainsFunc(n.allowed, func(p netip.Prefix) bool { return p.Contains(address) })
}

// ErrNetwork is what the error of a request to an address that is not allowed wraps.
var ErrNetwork = errors.New("the address is not public")

// check returns a permanent error for an address that requests may not go to.
func (n Networks) check(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	for _, is := range reaches(address) {
		kind, special := kindOf(is)
		if !special || n.allows(is, kind) || n.allows(address, kind) {
			continue
		}
		return contracts.Permanent(fmt.Errorf("%w: %s is %s; if requests are meant to go there, allow it with "+
			"--allow-networks (TRIBUTARY_ALLOW_NETWORKS)", ErrNetwork, address, kind))
	}
	return nil
}

func (n Networks) allows(address netip.Addr, kind string) bool {
	return slices.ContainsFunc(n.allowed, func(p netip.Prefix) bool {
		// The word for a large network does not mean the few addresses in it that give credentials away.
		return p.Contains(address) && (kind != metadataService || !slices.Contains(private(), p))
	})
}

// reaches are the addresses at which a connection may end: the one itself, and an IPv4 address that it holds for a
// gateway to find.
func reaches(address netip.Addr) []netip.Addr {
	raw := address.As16()
	switch {
	case address.Is4():
		return []netip.Addr{address}
	// NAT64, RFC 6052; IPv4-compatible
	case netip.MustParsePrefix("64:ff9b::/96").Contains(address), netip.MustParsePrefix("::/96").Contains(address):
		return []netip.Addr{address, netip.AddrFrom4([4]byte(raw[12:16]))}
	case netip.MustParsePrefix("2002::/16").Contains(address): // 6to4, RFC 3056
		return []netip.Addr{address, netip.AddrFrom4([4]byte(raw[2:6]))}
	}
	return []netip.Addr{address}
}

const metadataService = "a cloud's metadata service"

// kindOf names what is special about an address; a public one is not. The ranges are those of IANA's registries of
// special-purpose addresses that are not globally reachable, and the metadata services that hide in others.
func kindOf(address netip.Addr) (kind string, special bool) {
	for _, s := range []struct{ kind, networks string }{
		{metadataService, "169.254.169.254/32 169.254.170.0/24 100.100.100.200/32 168.63.129.16/32 192.0.0.192/32 " +
			"fd00:ec2::254/128 fd20:ce::254/128"},
		{"this machine", "127.0.0.0/8 0.0.0.0/8 ::1/128 ::/128"},
		{"a private address", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10"},
		{"a link-local address", "169.254.0.0/16 fe80::/10"},
		{"a multicast address", "224.0.0.0/4 ff00::/8"},
		{
			"an address for special purposes",
			"192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 " +
				"64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 3fff::/20 5f00::/16",
		},
	} {
		for network := range strings.FieldsSeq(s.networks) {
			if netip.MustParsePrefix(network).Contains(address) {
				return s.kind, true
			}
		}
	}
	return "", false
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

func private() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
	}
}
