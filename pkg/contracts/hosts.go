package contracts

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// HostNamer is implemented by providers whose credentials belong to hosts that the integration's metadata does not name
// as URLs.
//
// Credentials leave only for the hosts that a provider names. Without this contract these are the hosts of the URLs in
// the integration's metadata: see [MetadataHosts]. A change of metadata that moves the hosts is refused unless it
// brings all credentials along, so that whoever may change metadata can't have the stored credentials sent elsewhere.
type HostNamer interface {
	// CredentialHosts are the hosts that credentials are sent to. An entry is one of
	//   - a host, "api.example.com", which is reached over https only, with a port where it is not 443
	//   - "*.example.com", every host below that one
	//   - an address, "http://localhost:8080", of which scheme, host and port count
	//
	// It reads nothing but the integration's metadata, and is the same for every request of an integration. None at all
	// counts as not having the contract.
	CredentialHosts(in *Integration) ([]string, error)
}

// MetadataHosts returns scheme, host and port of every http and https URL among the integration's metadata, sorted. It
// is for providers that name these hosts and further ones.
func MetadataHosts(in *Integration) ([]string, error) {
	metadata, err := in.Metadata()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	collectHosts(metadata, found)
	return slices.Sorted(maps.Keys(found)), nil
}

func collectHosts(value any, found map[string]bool) {
	switch value := value.(type) {
	case map[string]any:
		for _, inner := range value {
			collectHosts(inner, found)
		}
	case []any:
		for _, inner := range value {
			collectHosts(inner, found)
		}
	case string:
		u, err := url.Parse(strings.TrimSpace(value))
		if err != nil || u.Hostname() == "" {
			return
		}
		if scheme := strings.ToLower(u.Scheme); scheme == "http" || scheme == "https" {
			found[scheme+"://"+strings.ToLower(u.Host)] = true
		}
	}
}
