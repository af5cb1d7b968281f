package contracts

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
	// untyped nil for a plain map. A typed nil is refused at start-up.
	CredentialData() any
	// MetadataData is CredentialData for the metadata.
	MetadataData() any
}
