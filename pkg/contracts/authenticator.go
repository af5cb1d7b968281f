package contracts

import "net/http"

// Authenticator is implemented by providers whose requests carry credentials. Authenticate is called by the outbound
// chain for every request that leaves through [Integration.HTTP], redirects included, on a clone of the request.
//
// It must leave requests to foreign hosts alone: an upstream's links and redirects may point elsewhere, and a token
// that follows them is a leaked token. A provider that is a [HostNamer] is called for the hosts that it names, and for
// no others. Without this contract, an [OAuth2] provider's access token is sent to its hosts as a bearer token, and
// other requests leave as they are.
type Authenticator interface {
	Authenticate(in *Integration, req *http.Request) error
}
