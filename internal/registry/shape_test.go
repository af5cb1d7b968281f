package registry_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const syncSignature = "Sync(context.Context, *contracts.Integration, contracts.SyncSession) error"

type flusher struct{ named }

func (flusher) Sync() error { return nil }

type oldHealthCheck struct{ named }

func (oldHealthCheck) HealthCheck(context.Context, *contracts.Integration) bool { return true }

type onlyIncremental struct{ named }

func (onlyIncremental) SyncIncremental(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return nil
}

type incrementalWithoutReducer struct {
	named
	scheduled
}

// scheduled has the methods of a ScheduledSync but the reducer.
type scheduled struct{}

func (scheduled) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return nil
}
func (scheduled) DefaultSyncInterval() time.Duration     { return time.Hour }
func (scheduled) DefaultRateLimit() *contracts.RateLimit { return nil }

func (incrementalWithoutReducer) SyncIncremental(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return nil
}

type misspelledIncremental struct{ synced }

func (misspelledIncremental) SyncIncrementaly(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return nil
}

type twoReducers struct {
	named
	scheduled
	contracts.MaxTime
	contracts.MaxNumber
}

type fourOfFive struct{ named }

func (fourOfFive) HandleWebhook(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
	return nil, nil
}
func (fourOfFive) ResolveWebhookEvent(*contracts.WebhookRequest) (string, bool) { return "", false }
func (fourOfFive) WebhookHandlers() map[string]contracts.WebhookFunc            { return nil }
func (fourOfFive) WebhookDeliveryID(*contracts.WebhookRequest) (string, bool)   { return "", false }

type oldSpelling struct{ fourOfFive }

func (oldSpelling) VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) bool {
	return true
}

type misspelledThreshold struct{ named }

func (misspelledThreshold) RefreshTreshold() time.Duration { return 0 }

type misspelledPlural struct{ named }

func (misspelledPlural) RefreshTresholds() time.Duration { return 0 }

type otherCase struct{ named }

func (otherCase) SYNC() {}

type pointerReceiver struct{ named }

func (*pointerReceiver) HealthCheck(context.Context, *contracts.Integration) error { return nil }

type pointerReceiverWrong struct{ named }

func (*pointerReceiverWrong) HealthCheck() error { return nil }

type loneBudget struct{ named }

func (loneBudget) DefaultRateLimit() *contracts.RateLimit { return nil }

type loneHeader struct{ named }

func (loneHeader) IdempotencyHeader() string { return "X-Key" }

type loneAdvancer struct{ named }

func (loneAdvancer) CursorAdvances(_, _ contracts.Cursor) bool { return true }

type loneReducer struct {
	named
	contracts.MaxString
}

// helpers has methods of its own that are near no contract, or beside a contract that is there.
type helpers struct{ everything }

func (helpers) Issues() []string                   { return nil }
func (helpers) Syncs() int                         { return 0 }
func (helpers) Names() []string                    { return nil }
func (helpers) HealthChecks() int                  { return 0 }
func (helpers) RefreshTokens() int                 { return 0 }
func (helpers) DefaultSyncInterval() time.Duration { return time.Hour }

func TestNewRefusesNearMisses(t *testing.T) {
	tests := []struct {
		name     string
		provider contracts.Provider
		want     []string
	}{
		{"a Sync that means something else", flusher{}, []string{
			"method Sync of ScheduledSync has the wrong signature: found Sync() error, want " + syncSignature +
				"; if it means something else, rename it, or don't embed the type it comes from",
		}},
		{"a wrong result", oldHealthCheck{}, []string{
			"method HealthCheck of HealthChecker has the wrong signature: found HealthCheck(context.Context, " +
				"*contracts.Integration) bool, want HealthCheck(context.Context, *contracts.Integration) error; " +
				"if it means something else, rename it, or don't embed the type it comes from",
		}},
		{"incremental alone", onlyIncremental{}, []string{
			"it has SyncIncremental of IncrementalSync but not DefaultRateLimit() *contracts.RateLimit; " +
				"DefaultSyncInterval() time.Duration; " +
				"ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error); " + syncSignature,
		}},
		{"incremental without a reducer", incrementalWithoutReducer{}, []string{
			"it has DefaultRateLimit, DefaultSyncInterval, Sync, SyncIncremental of IncrementalSync but not " +
				"ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error)",
		}},
		{"two embedded reducers hide each other", twoReducers{}, []string{
			"it has DefaultRateLimit, DefaultSyncInterval, Sync of ScheduledSync but not " +
				"ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error)",
		}},
		{"four of five webhook methods", fourOfFive{}, []string{
			"it has HandleWebhook, ResolveWebhookEvent, WebhookDeliveryID, WebhookHandlers of WebhookHandler but not " +
				"VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) error",
		}},
		{"the fifth with a wrong signature is told once", oldSpelling{}, []string{
			"method VerifyWebhookSignature of WebhookHandler has the wrong signature: found " +
				"VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) bool, " +
				"want VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) " +
				"error; if it means something else, rename it, or don't embed the type it comes from",
		}},
		{"misspelled incremental", misspelledIncremental{synced{interval: time.Hour}}, []string{
			"method SyncIncrementaly looks like a misspelling of IncrementalSync's SyncIncremental: found " +
				"SyncIncrementaly(context.Context, *contracts.Integration, contracts.SyncSession) error, " +
				"want SyncIncremental(context.Context, *contracts.Integration, contracts.SyncSession) error; if it " +
				"means something else, rename it",
		}},
		{"one letter off", misspelledThreshold{}, []string{
			"method RefreshTreshold looks like a misspelling of OAuth2's RefreshThreshold: found RefreshTreshold() " +
				"time.Duration, want RefreshThreshold() time.Duration; if it means something else, rename it",
		}},
		{"two letters off", misspelledPlural{}, []string{
			"method RefreshTresholds looks like a misspelling of OAuth2's RefreshThreshold: found RefreshTresholds() " +
				"time.Duration, want RefreshThreshold() time.Duration; if it means something else, rename it",
		}},
		{"other case", otherCase{}, []string{
			"method SYNC looks like a misspelling of ScheduledSync's Sync: found SYNC(), want " + syncSignature +
				"; if it means something else, rename it",
		}},
		{"value registered, method on the pointer", pointerReceiver{}, []string{
			"method HealthCheck of HealthChecker has a pointer receiver, but the provider is registered as the value " +
				"registry_test.pointerReceiver: " +
				"register a pointer, or give the method a value receiver: HealthCheck(context.Context, " +
				"*contracts.Integration) error",
		}},
		{"value registered, wrong method on the pointer", pointerReceiverWrong{}, []string{
			"method HealthCheck of HealthChecker has a pointer receiver and the wrong signature: found HealthCheck() " +
				"error, want HealthCheck(context.Context, *contracts.Integration) error; " +
				"if it means something else, rename it",
		}},
		{"a budget in the wrong place", loneBudget{}, []string{
			"it has DefaultRateLimit of ScheduledSync but not DefaultSyncInterval() time.Duration; " +
				"ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error); " + syncSignature +
				"; a request budget without a sync is RateLimiter's RateLimit() *contracts.RateLimit",
		}},
		{"a header without the mark", loneHeader{}, []string{
			"it has IdempotencyHeader of IdempotencyHeaderNamer but not SupportsIdempotency()",
		}},
		{"a forward rule without a sync", loneAdvancer{}, []string{
			"it has CursorAdvances of CursorAdvancer, which counts only beside ScheduledSync",
		}},
		{"a reducer without a sync", loneReducer{}, []string{
			"it has ReduceCheckpoints of ScheduledSync but not DefaultRateLimit() *contracts.RateLimit; " +
				"DefaultSyncInterval() time.Duration; " + syncSignature,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := registry.New(map[string]contracts.Provider{"acme": test.provider})
			if err == nil {
				t.Fatal("accepted")
			}
			var want []string
			for _, line := range test.want {
				want = append(want, `provider "acme": `+line)
			}
			if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewLeavesHelpersAlone(t *testing.T) {
	for name, p := range map[string]contracts.Provider{
		"beside their contracts":                     helpers{},
		"the pointer of a type with pointer methods": &pointerReceiver{},
	} {
		if _, err := registry.New(map[string]contracts.Provider{"acme": p}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
