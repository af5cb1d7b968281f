package contracts

import (
	"context"
	"net/http"
)

// Provider describes one kind of upstream. It is the only interface that every provider implements. A provider is
// stateless and safe for concurrent use: all that differs between two connections comes from the [Integration] that a
// method is given.
//
// The key under which a provider is known (`github`) is given at registration, not by the provider itself.
type Provider interface {
	// Name is the human-readable label of the upstream, used in listings and as the default name of a new integration.
	Name() string
	// CredentialRules says what valid credentials are. Every write path enforces it: CLI, API and OAuth callback.
	CredentialRules() Rules
	// MetadataRules says what valid metadata is, enforced like CredentialRules.
	MetadataRules() Rules
	// CredentialData returns a fresh pointer to the typed credentials, into which the stored JSON is decoded, or an
	// untyped nil for a plain map. A typed nil is refused by [NewRegistry].
	CredentialData() any
	// MetadataData is CredentialData for the metadata.
	MetadataData() any
}

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

// HealthChecker is implemented by providers that can test a connection without a sync.
type HealthChecker interface {
	// HealthCheck returns nil when the upstream answers and accepts the credentials. An error that is a deferral
	// (see [RetryAfter]) says nothing about health and changes none.
	HealthCheck(ctx context.Context, in *Integration) error
}
