package webhookingress

import (
	"net/netip"
	"runtime"
	"time"
)

// Settings are the numbers that an ingress runs by; [DefaultSettings] has the original's size limit.
type Settings struct {
	// MaxBody is how many bytes a body may have.
	MaxBody int64
	// MaxHeader is how many bytes the headers may have.
	MaxHeader int
	// Connections is how many connections may be open, idle ones included.
	Connections int
	// BodyBudget is how many bytes the bodies of all requests may take together. [Settings.Memory] is derived from it.
	BodyBudget int64
	// HeaderTimeout and BodyTimeout are how long the headers and the body may take to arrive.
	HeaderTimeout, BodyTimeout time.Duration
	// MinRate is how many bytes a second a body must bring. It may be late by Stall.
	MinRate int64
	Stall   time.Duration
	// StoreTimeout is how long a request may wait for its turn, and the broker may take: long enough for it to choose another leader, and
	// below the patience of most senders.
	StoreTimeout time.Duration
	// RetryAfter is what a sender is told to wait when its request can't be taken now.
	RetryAfter time.Duration
	// InFlight is how many requests are verified and stored at a time. Only those of which the body is there count.
	InFlight int
	// Checks is how many signatures are computed at a time. Clients take turns.
	Checks int
	// CallTimeout is how long a call of a provider's code may take, such as the check of a signature. After that the
	// call is left behind, and the sender is told to come back.
	CallTimeout time.Duration
	// Candidates is how many secrets a request to the address of a provider may be checked with, and CheckBytes over how many bytes those
	// checks may go together: the body counts once for each.
	Candidates int
	CheckBytes int64
	// BacklogEvery is how often it is looked whose webhooks fill the stream.
	BacklogEvery time.Duration
	// Burst is how many refusals, none of which is longer than BurstGap after the one before, raise an event.
	Burst    int
	BurstGap time.Duration
	// DrainDelay is how long the service goes on as before when it is told to stop, while load balancers notice that it is not ready.
	DrainDelay time.Duration
	// Grace is how long requests that are under way may take after that.
	Grace time.Duration
	// TrustedProxy reports whether an address is that of a proxy whose X-Forwarded-For counts. Nil trusts none.
	TrustedProxy func(netip.Addr) bool
}

const (
	mib = 1 << 20
	// processMemory is what the process takes without any request.
	processMemory = 64 * mib
	// copiesOfBody is how often a body is in memory while the broker stores it: as it came, in its message, and on its way.
	copiesOfBody = 3
	// connectionMemory is what a connection takes whose headers are as large and as many as they may be.
	connectionMemory = 128 << 10
)

// Memory is how many bytes the process may need when strangers take all that they can get. The memory limits of deploy/ leave a quarter more.
func (s Settings) Memory() int64 {
	return processMemory + copiesOfBody*s.BodyBudget + int64(s.Connections)*connectionMemory
}

// DefaultSettings are the original's size limit, and limits that keep strangers from holding what others need.
func DefaultSettings() Settings {
	return Settings{
		MaxBody: mib, MaxHeader: 32 << 10, Connections: 1024, BodyBudget: 64 * mib,
		HeaderTimeout: 5 * time.Second, BodyTimeout: 15 * time.Second, MinRate: 16 << 10, Stall: 5 * time.Second, StoreTimeout: 8 * time.Second,
		RetryAfter: 10 * time.Second, InFlight: 512, Checks: 2 * runtime.GOMAXPROCS(0), CallTimeout: 2 * time.Second, Candidates: 100, CheckBytes: 8 * mib,
		BacklogEvery: 5 * time.Second, Burst: 20, BurstGap: 10 * time.Minute, Grace: 20 * time.Second,
	}
}
