package contracts

import "context"

// HealthChecker is implemented by providers that can test a connection without a sync.
type HealthChecker interface {
	// HealthCheck returns nil when the upstream answers and accepts the credentials. An error that is a deferral
	// (see [RetryAfter]) says nothing about health and changes none.
	HealthCheck(ctx context.Context, in *Integration) error
}
