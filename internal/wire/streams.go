package wire

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/pkg/events"
)

// The streams.
const (
	StreamSync     = "TRIBUTARY_SYNC"
	StreamItems    = "TRIBUTARY_ITEMS"
	StreamCommands = "TRIBUTARY_COMMANDS"
	StreamWebhooks = "TRIBUTARY_WEBHOOKS"
)

// The buckets.
const (
	BucketCheckpoints = "tributary_checkpoints"
	BucketWorkers     = "tributary_workers"
	BucketLimits      = "tributary_limits"
	BucketCircuits    = "tributary_circuits"
	BucketDirectory   = "tributary_directory"
	BucketKeys        = "tributary_keys"
	BucketGrants      = "tributary_grants"
	BucketMark        = "tributary_mark"
)

// HeaderWaitsFor is what deferred items wait for. They are delivered early when that has ended.
const HeaderWaitsFor = "Tributary-Waits-For"

const (
	// DedupeWindow is how long the broker remembers a message id. It is an optimisation, and costs 210 bytes a message while it
	// lasts; the long truth is in Postgres.
	DedupeWindow = 10 * time.Minute
	// LimitsMaxAge is after how long without a request a budget is forgotten: longer than two windows of any budget.
	LimitsMaxAge = 90 * 24 * time.Hour
	// KeysMaxAge is for how long NATS knows that a request with an idempotency key was sent.
	KeysMaxAge = time.Hour
	// GrantsMaxAge is for how long NATS keeps the newest token of an integration, sealed.
	GrantsMaxAge = 24 * time.Hour
	// WebhookBacklog is how much room verified webhooks have by default until they are in Postgres. When it is used up, no more are taken in, and none that was is
	// lost.
	WebhookBacklog = 512 << 20
)

// Timing is what the consumers' clocks run by. Production uses [DefaultTiming]; tests of crashes use shorter times.
type Timing struct {
	// AckWait is how long a worker may be silent before its message goes to another: with heartbeats at a third of it, a crash costs
	// about this long.
	AckWait time.Duration
	// WorkerLease is how long a worker that no longer renews its lease counts as alive.
	WorkerLease time.Duration
	// LagBound is for how long a commit of Postgres may be missing on the standby that takes over. A webhook and a command are acknowledged only after it, when Postgres
	// still has them. 0 acknowledges them at once.
	LagBound time.Duration
}

// DefaultTiming is 15 s of each: measured in crash tests as the best between quick recovery and heartbeat load.
func DefaultTiming() Timing { return Timing{AckWait: 15 * time.Second, WorkerLease: 15 * time.Second} }

// Streams are all streams. replicas is 1 for one node, 3 for a cluster.
func Streams(replicas int) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{{
		Name:        StreamSync,
		Description: "Due runs on their way from the scheduler to a syncer",
		Subjects:    []string{join(events.Root, "sync", ">")},
		Retention:   jetstream.WorkQueuePolicy,
		Duplicates:  DedupeWindow,
		Replicas:    replicas,
	}, {
		Name:        StreamItems,
		Description: "Batches of items, and items that wait for their next hop",
		Subjects:    []string{join(events.Root, "items", ">"), join(events.Root, "retry", ">")},
		Retention:   jetstream.WorkQueuePolicy,
		Duplicates:  DedupeWindow,
		Replicas:    replicas,
		// Delayed hops are the stream's own schedules.
		AllowMsgSchedules: true,
	}, {
		Name:        StreamCommands,
		Description: "What operators ask for, kept while no scheduler runs",
		Subjects:    []string{join(events.Root, "commands", ">")},
		Retention:   jetstream.WorkQueuePolicy,
		Duplicates:  DedupeWindow,
		Replicas:    replicas,
	}, {
		Name:        events.StreamEvents,
		Description: "What happened, for your application",
		Subjects:    []string{join(events.Root, "events", ">")},
		Retention:   jetstream.LimitsPolicy,
		MaxAge:      events.EventsMaxAge,
		Duplicates:  DedupeWindow,
		Replicas:    replicas,
	}, {
		Name:        StreamWebhooks,
		Description: "Verified webhooks on their way into Postgres",
		Subjects:    []string{join(events.Root, "webhooks", ">")},
		Retention:   jetstream.WorkQueuePolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    WebhookBacklog,
		Duplicates:  DedupeWindow,
		Replicas:    replicas,
	}}
}

// Buckets are all key-value buckets.
func Buckets(replicas int, timing Timing) []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{{
		Bucket:      BucketCheckpoints,
		Description: "What the items of open runs have come to",
		Replicas:    replicas,
	}, {
		Bucket:      BucketWorkers,
		Description: "Leases of live workers",
		TTL:         timing.WorkerLease,
		Replicas:    replicas,
	}, {
		Bucket:      BucketLimits,
		Description: "Request budgets: what is spent of them, and what upstreams said about theirs",
		TTL:         LimitsMaxAge,
		Replicas:    replicas,
	}, {
		Bucket:      BucketCircuits,
		Description: "Circuits that have been open",
		Replicas:    replicas,
	}, {
		Bucket:      BucketDirectory,
		Description: "Integrations, for services that have no database",
		Replicas:    replicas,
	}, {
		Bucket:      BucketKeys,
		Description: "Idempotency keys whose request was sent, should Postgres forget",
		TTL:         max(KeysMaxAge, timing.LagBound),
		Replicas:    replicas,
	}, {
		Bucket:      BucketGrants,
		Description: "Newest OAuth tokens, sealed, should Postgres forget",
		TTL:         GrantsMaxAge,
		Replicas:    replicas,
	}, {
		Bucket:      BucketMark,
		Description: "Mirror of a row in Postgres, to notice a store that goes back",
		Replicas:    replicas,
	}}
}

// SyncConsumer is the durable that syncers share for a provider's due runs.
func SyncConsumer(provider string, timing Timing) jetstream.ConsumerConfig {
	return workConsumer("syncer-"+provider, SyncDueFilter(provider), timing)
}

// ItemsConsumer is the durable that workers share for a provider's items in a lane.
func ItemsConsumer(lane Lane, provider string, timing Timing) jetstream.ConsumerConfig {
	return workConsumer("worker-"+string(lane)+"-"+provider, ItemsFilter(lane, provider), timing)
}

// WebhooksConsumer is the durable that workers share for a provider's webhooks.
func WebhooksConsumer(provider string, timing Timing) jetstream.ConsumerConfig {
	config := workConsumer("webhooks-"+provider, WebhooksFilter(provider), timing)
	config.MaxAckPending = max(10_000, within(timing.LagBound, webhooksPerSecond))
	return config
}

// CommandsConsumer is the durable that schedulers share for commands.
func CommandsConsumer(timing Timing) jetstream.ConsumerConfig {
	config := workConsumer("scheduler", join(events.Root, "commands", ">"), timing)
	config.MaxAckPending = max(config.MaxAckPending, within(timing.LagBound, commandsPerSecond))
	return config
}

const (
	// webhooksPerSecond and commandsPerSecond are how many messages of a consumer may wait for the lag bound. More than that are delivered later.
	webhooksPerSecond = 1000
	commandsPerSecond = 100
)

// within is how many messages come in a time.
func within(d time.Duration, perSecond int) int { return int(d.Seconds() * float64(perSecond)) }

func workConsumer(durable, filter string, timing Timing) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       durable,
		FilterSubject: filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       timing.AckWait,
		// A message that ran out of deliveries would stay for ever, unseen; tries are counted in the message.
		MaxDeliver:    -1,
		MaxAckPending: 1000,
	}
}

// APIService is the name of the NATS micro service.
const APIService = "tributary"
