package platform

import "time"

// The greatest values of settings.
const (
	// MaxAtATime is more runs, items or connections than one process can serve.
	MaxAtATime = 10_000
	// MaxWebhookConnections is more connections than one process can keep open.
	MaxWebhookConnections = 1_000_000
	// MaxBytes is a TiB.
	MaxBytes = 1 << 40
	// MaxDays is a hundred years: "for ever", and within what dates and durations can hold.
	MaxDays = 36_500
	// MaxLagBound bounds how many messages wait in NATS for their late look.
	MaxLagBound = 5 * time.Minute
	// MaxDrainDelay is more than any load balancer needs to notice.
	MaxDrainDelay = time.Hour
)
