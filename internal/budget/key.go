package budget

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// boundedKey is [Key] for callers other than the provider's own code.
func boundedKey(provider contracts.Provider, in *contracts.Integration) (string, error) {
	return panics.Compute("BudgetKey", func() (string, error) { return Key(provider, in), nil })
}

// Shared reports whether the upstream counts the requests of two integrations of a provider together.
func Shared(provider contracts.Provider, a, b *contracts.Integration) (bool, error) {
	keys := [2]string{}
	for i, in := range []*contracts.Integration{a, b} {
		var err error
		if keys[i], err = boundedKey(provider, in); err != nil {
			return false, err
		}
	}
	return keys[0] == keys[1], nil
}

// Key is "<provider>.<what the upstream counts by>": the integration's id, or a hash of what the provider says.
func Key(provider contracts.Provider, in *contracts.Integration) string {
	if keyer, ok := provider.(contracts.BudgetKeyer); ok {
		if key := keyer.BudgetKey(in); key != "" {
			sum := sha256.Sum256([]byte(in.Provider() + "\x00" + key))
			return in.Provider() + "." + hex.EncodeToString(sum[:16])
		}
	}
	return in.Provider() + "." + in.ID()
}

// LimitOf is the request budget that a provider declares; nil is unlimited. It calls the provider's code.
func LimitOf(provider contracts.Provider) *contracts.RateLimit {
	if limiter, ok := provider.(contracts.RateLimiter); ok {
		return limiter.RateLimit()
	}
	if scheduled, ok := provider.(contracts.ScheduledSync); ok {
		return scheduled.DefaultRateLimit()
	}
	return nil
}
