// Package contracts is everything that a provider is, and all that a provider imports.
//
// A provider is a stateless Go value that describes one kind of upstream: GitHub, Stripe, your own API. [Provider] is
// the only interface it must satisfy. Every other ability is a small interface in a file of its own, which Tributary
// finds once, at start-up, by type assertion. Those who know the contracts from PHP (namespace Integrations\Contracts)
// find them here:
//
//	IntegrationProvider       Provider               what an integration consists of
//	HasScheduledSync          ScheduledSync          enumerates all records
//	HasIncrementalSync        IncrementalSync        enumerates what changed since the cursor
//	ReducesCheckpointsByMax   MaxTime, MaxString,    the greatest checkpoint becomes the cursor
//	                          MaxNumber
//	HandlesWebhooks           WebhookHandler         takes deliveries in; an error stands for false
//	HasOAuth2                 OAuth2                 users grant access, and tokens stay fresh
//	HasHealthCheck            HealthChecker          tests a connection; an error stands for false
//	RedactsRequestData        Redactor               names secrets that are not stored
//	SupportsIdempotency       IdempotencySupporter   the upstream knows idempotency keys
//	CustomizesRetry           RetryCustomizer        says what is worth a retry; VerdictDefault stands for null
//
// Methods have the same names, in Go's spelling. Intervals and thresholds are values of [time.Duration], and a class of
// typed data is a pointer to a struct (CredentialData, MetadataData).
//
// Further abilities have no counterpart there: [Authenticator] signs requests, [HostNamer] names the hosts that
// credentials are sent to, [IdentityResolver] tells whose they are, [FailureClassifier], [RateLimiter], [BudgetKeyer],
// [RateReporter] and [ResponseLogLimiter] say how requests are treated, and those in cursors.go, webhook.go and
// oauth2.go refine a sync, webhooks and OAuth.
//
// A method with a wrong signature would silently not count. At start-up Tributary therefore compares method names with
// the contracts and refuses a near miss, naming the provider, the method and the right signature.
//
// Embedding gives defaults: [NoCredentials] and [NoMetadata], or [TypedCredentials] and [TypedMetadata] of one struct
// each; [MaxTime], [MaxString] and [MaxNumber] for the cursor; [WebhookDefaults] and [OAuth2Defaults]. The methods of
// an embedded type call one another and never the provider's, so that a provider which declares some of those that
// belong together, and not the others, is refused. The example of the package is a whole provider.
//
// The package imports the standard library only, so that it can be read whole and never drags a dependency into a
// provider.
package contracts
