package contracts

// NoCredentials is embedded by a provider whose upstream needs none.
type NoCredentials struct{}

// CredentialRules is nil: nothing is required.
func (NoCredentials) CredentialRules() Rules { return nil }

// CredentialData is nil: a plain map.
func (NoCredentials) CredentialData() any { return nil }

// NoMetadata is embedded by a provider that needs to know nothing but its credentials.
type NoMetadata struct{}

// MetadataRules is nil: nothing is required.
func (NoMetadata) MetadataRules() Rules { return nil }

// MetadataData is nil: a plain map.
func (NoMetadata) MetadataData() any { return nil }

// TypedCredentials is embedded by a provider whose credentials are the struct T, with its rules in T's validate tags:
// see [RulesFor].
type TypedCredentials[T any] struct{}

// CredentialRules are the rules of T's tags.
func (TypedCredentials[T]) CredentialRules() Rules { return RulesFor[T]() }

// CredentialData is a new T.
func (TypedCredentials[T]) CredentialData() any { return new(T) }

// TypedMetadata is [TypedCredentials] for the metadata.
type TypedMetadata[T any] struct{}

// MetadataRules are the rules of T's tags.
func (TypedMetadata[T]) MetadataRules() Rules { return RulesFor[T]() }

// MetadataData is a new T.
func (TypedMetadata[T]) MetadataData() any { return new(T) }
