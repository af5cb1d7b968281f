// Package contracts is everything that a provider is, and all that a provider imports.
//
// A provider is a stateless Go value that describes one kind of upstream: GitHub, Stripe, your own API. [Provider] is
// the only interface it must satisfy. Every other ability is a small interface that Tributary finds once, at start-up,
// by type assertion: [ScheduledSync] and [IncrementalSync] enumerate items, [WebhookHandler] takes deliveries in,
// [OAuth2] keeps tokens fresh, [HealthChecker] probes a connection, [Authenticator] signs requests, and [Redactor],
// [IdempotencySupporter], [RetryCustomizer], [FailureClassifier], [IdentityResolver], [RateLimiter] and
// [ResponseLogLimiter] say how requests to the upstream are to be treated.
//
// A method with a wrong signature would silently not count; [NewRegistry] therefore compares method names with the
// contracts and refuses a near miss, naming the provider, the method and the right signature.
//
// Embedding gives defaults: [NoCredentials] and [NoMetadata], or [TypedCredentials] and [TypedMetadata] of one struct
// each; [MaxTime], [MaxString] and [MaxNumber] for the cursor; [WebhookDefaults] and [OAuth2Defaults]. The example of
// the package is a whole provider.
//
// The package imports the standard library only, so that it can be read whole and never drags a dependency into a
// provider.
package contracts
