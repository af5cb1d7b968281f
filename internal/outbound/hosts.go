package outbound

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// ErrNoHosts means that an access token has nowhere to go: the provider names no host, and the metadata has no URL.
var ErrNoHosts = errors.New("the provider names no host that its access token may be sent to: " +
	"implement contracts.HostNamer (the flows of pkg/oauth2 have a field Hosts), or have a URL among the metadata")

// Hosts are where the credentials of an integration may be sent.
type Hosts struct {
	// Named says that the provider itself has named them.
	Named bool
	// api are the hosts of requests, flow those of the authorization server.
	api, flow []origin
}

// origin is one entry: scheme, host and port, or every host below one.
type origin struct {
	scheme, host, port string
	below              bool
}

// CredentialHosts are the hosts that a provider names, or else those of the URLs in the integration's metadata. The
// authorization server's hosts are among them.
func CredentialHosts(provider contracts.Provider, in *contracts.Integration) (hosts Hosts, err error) {
	if namer, ok := provider.(contracts.HostNamer); ok {
		if hosts.api, err = originsOf(namer.CredentialHosts, in); err != nil {
			return Hosts{}, err
		}
		hosts.Named = len(hosts.api) > 0
	}
	if !hosts.Named {
		if hosts.api, err = originsOf(contracts.MetadataHosts, in); err != nil {
			return Hosts{}, err
		}
	}
	if namer, ok := provider.(contracts.OAuth2HostNamer); ok {
		hosts.flow, err = originsOf(namer.OAuth2Hosts, in)
	}
	return hosts, err
}

func originsOf(find func(*contracts.Integration) ([]string, error), in *contracts.Integration) ([]origin, error) {
	entries, err := panics.Compute("the list of hosts", func() ([]string, error) { return find(in) })
	if err != nil {
		return nil, fmt.Errorf("find the hosts of %q: %w", in.Name(), err)
	}
	origins := make([]origin, 0, len(entries))
	for _, entry := range entries {
		parsed, err := parseOrigin(entry)
		if err != nil {
			return nil, contracts.Permanent(err)
		}
		origins = append(origins, parsed)
	}
	return origins, nil
}

func parseOrigin(entry string) (origin, error) {
	text := entry
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return origin{},
			fmt.Errorf("the provider's CredentialHosts has %q, which is neither a host nor an http address", entry)
	}
	o := originOfURL(u)
	o.host, o.below = strings.CutPrefix(o.host, "*.")
	if o.host == "" || strings.Contains(o.host, "*") || o.below && !strings.Contains(o.host, ".") {
		return origin{},
			fmt.Errorf("the provider's CredentialHosts has %q; a star stands for what is below a domain, as in "+
				"*.example.com", entry)
	}
	return o, nil
}

func originOfURL(u *url.URL) origin {
	o := origin{
		scheme: strings.ToLower(u.Scheme), host: strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")),
		port: u.Port(),
	}
	if o.port == "" {
		o.port = map[string]string{"https": "443", "http": "80"}[o.scheme]
	}
	return o
}

// None reports whether no host is known that requests go to.
func (h Hosts) None() bool { return len(h.api) == 0 }

func (h Hosts) all() []origin { return slices.Concat(h.api, h.flow) }

// Cover reports whether credentials may be sent to an address.
func (h Hosts) Cover(u *url.URL) bool {
	to := originOfURL(u)
	return slices.ContainsFunc(h.all(), func(o origin) bool {
		if o.scheme != to.scheme || o.port != to.port {
			return false
		}
		if o.below {
			return strings.HasSuffix(to.host, "."+o.host)
		}
		return o.host == to.host
	})
}

// MovedFrom reports whether credentials that were given for other hosts could reach hosts that they were not given for.
// Hosts that are no longer known count as moved, too.
func (h Hosts) MovedFrom(before Hosts) bool {
	known := before.all()
	return h.None() && !before.None() || slices.ContainsFunc(h.all(), func(o origin) bool {
		return !slices.Contains(known, o)
	})
}

// String lists the hosts for a message.
func (h Hosts) String() string {
	if h.None() {
		return "the provider's own"
	}
	names := make([]string, 0, len(h.api))
	for _, o := range h.api {
		name := o.host
		if o.below {
			name = "*." + name
		}
		if o.port != "443" && o.port != "80" {
			name += ":" + o.port
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
