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

// listed embeds a ready-made reducer and declares another: the runtime would reduce in parts, and a run of several
// batches would get a wrong cursor.
type listed struct {
	named
	scheduled
	contracts.MaxNumber
}

func (listed) ReduceCheckpoints(c []contracts.Checkpoint) (contracts.Cursor, error) {
	return contracts.Cursor(c[0]), nil
}

type listedTimes struct {
	named
	scheduled
	contracts.MaxTime
}

func (listedTimes) ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error) {
	return nil, nil
}

// keyed believes that the embedded reducer asks its own CheckpointKey.
type keyed struct {
	named
	scheduled
	contracts.MaxString
}

func (keyed) CheckpointKey(contracts.Checkpoint) (string, error) { return "", nil }

// dated is something to embed.
type dated struct{ contracts.MaxTime }

// mixed has its reducer from MaxNumber, which is less deep, and what only MaxTime has from there.
type mixed struct {
	named
	scheduled
	dated
	contracts.MaxNumber
}

type inBase struct{ listed }

type generic[T any] struct {
	named
	scheduled
	contracts.MaxNumber
}

func (generic[T]) ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error) {
	var none T
	return contracts.NewCursor(none)
}

// base is what the providers of one company embed.
type base struct{ everything }

func (base) RateLimit() *contracts.RateLimit { return contracts.PerMinute(1) }
func (base) GrantsUnattended()               {}
func (base) RefreshToken(context.Context, *contracts.Integration) (contracts.Token, error) {
	return contracts.Token{}, nil
}

type ownRefresh struct{ base }

func (ownRefresh) RefreshToken(context.Context, *contracts.Integration) (contracts.Token, error) {
	return contracts.Token{}, nil
}

type ownVerify struct{ base }

func (ownVerify) VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) error {
	return nil
}

type ownSecrets struct{ base }

func (ownSecrets) WebhookSecrets(*contracts.Integration) []string { return nil }

type ownAccount struct{ base }

func (ownAccount) WebhookAccount(*contracts.WebhookRequest) (string, bool) { return "", false }

type ownIssuer struct{ base }

func (ownIssuer) OAuth2Issuer(*contracts.Integration) (string, error) { return "", nil }

type ownHandlers struct{ base }

func (ownHandlers) WebhookHandlers() map[string]contracts.WebhookFunc {
	return map[string]contracts.WebhookFunc{"edited": nil}
}

type ownBudget struct{ base }

func (ownBudget) DefaultRateLimit() *contracts.RateLimit { return contracts.PerMinute(60) }

// wrapped is a provider around another one.
type wrapped struct{ contracts.Provider }

// syncOnly has the contracts of the interface alone.
type syncOnly struct {
	named
	contracts.IncrementalSync
}

type maybe struct {
	named
	*synced
}

// pointers has methods that only its pointer has.
type pointers struct{}

func (*pointers) HealthCheck(context.Context, *contracts.Integration) error { return nil }

type onPointers struct {
	named
	pointers
}

type nilPointers struct {
	named
	*pointers
}

func TestNewRefusesTrapsOfEmbedding(t *testing.T) {
	t.Parallel()
	working := base{everything{synced: synced{interval: time.Minute}}}
	for _, test := range []struct {
		name     string
		provider contracts.Provider
		want     []string
	}{
		{"a reducer beside the mark of another", listed{}, []string{
			"the ReducesAssociatively, CheckpointKey of the embedded contracts.MaxNumber belongs to the " +
				"ReduceCheckpoints there, " +
				"but the provider has the ReduceCheckpoints of registry_test.listed: " +
				"declare ReducesAssociatively, CheckpointKey beside it, or don't embed contracts.MaxNumber and call " +
				"its methods from yours",
		}},
		{"registered as a pointer", &listed{}, []string{"the ReducesAssociatively, CheckpointKey of the embedded " +
			"contracts.MaxNumber"}},
		{"a reducer beside all that MaxTime has", listedTimes{}, []string{
			"the ReducesAssociatively, CheckpointKey, CheckCheckpoint, CursorAt of the embedded contracts.MaxTime",
		}},
		{"a key that the reducer does not ask", keyed{}, []string{
			"the ReduceCheckpoints of the embedded contracts.MaxString belongs to the CheckpointKey there, " +
				"but the provider has the CheckpointKey of registry_test.keyed",
		}},
		{"two reducers at different depths", mixed{}, []string{
			"the CheckCheckpoint, CursorAt of the embedded contracts.MaxTime belongs to the ReduceCheckpoints there, " +
				"but the provider has the ReduceCheckpoints of contracts.MaxNumber",
		}},
		{"embedded along with its trap", inBase{}, []string{"but the provider has the ReduceCheckpoints of " +
			"registry_test.listed"}},
		{"a generic one", generic[int]{}, []string{"but the provider has the ReduceCheckpoints of " +
			"registry_test.generic[int]"}},
		{"another refresh than the unattended one", ownRefresh{working}, []string{
			"the GrantsUnattended of the embedded registry_test.base belongs to the RefreshToken there",
		}},
		{"another check of signatures", ownVerify{working}, []string{
			"the WebhookSecrets of the embedded registry_test.everything belongs to the VerifyWebhookSignature there",
		}},
		{"other secrets", ownSecrets{working}, []string{
			"the VerifyWebhookSignature of the embedded registry_test.everything belongs to the WebhookSecrets there",
		}},
		{"one account of two", ownAccount{working}, []string{
			"the IntegrationAccount of the embedded registry_test.everything belongs to the WebhookAccount there",
		}},
		{"another issuer", ownIssuer{working}, []string{
			"the RequiresOAuth2Issuer of the embedded registry_test.everything belongs to the OAuth2Issuer there",
		}},
		{"handlers of types that nobody finds", ownHandlers{working}, []string{
			"WebhookHandlers: its functions are never called: the embedded contracts.WebhookDefaults has " +
				"ResolveWebhookEvent, " +
				"which finds no type; declare it, too",
		}},
		{"a budget behind another", ownBudget{working}, []string{
			"DefaultRateLimit: it is never asked: the embedded registry_test.base has RateLimit, which goes before; " +
				"return nil, or declare RateLimit",
		}},
		{"a wrapper that hides contracts", wrapped{synced{interval: time.Minute}}, []string{
			"it embeds a registry_test.synced as a contracts.Provider, which hides its ScheduledSync, CursorDater, " +
				"AssociativeReducer, " +
				"CheckpointOrderer, CheckpointChecker: embed the type registry_test.synced itself, or keep it in a " +
				"field with a name",
		}},
		{"an embedded nil interface", syncOnly{}, []string{
			"it has DefaultRateLimit, DefaultSyncInterval, ReduceCheckpoints, Sync, SyncIncremental from the " +
				"embedded contracts.IncrementalSync, " +
				"which is nil: set it, or embed a value",
			"DefaultSyncInterval panicked", "DefaultRateLimit panicked",
		}},
		{"an embedded nil pointer", maybe{}, []string{
			"it has CheckCheckpoint, CheckpointKey, CursorAt, DefaultRateLimit, DefaultSyncInterval, " +
				"ReduceCheckpoints, ReducesAssociatively, Sync " +
				"from the embedded *registry_test.synced, which is nil: set it, or embed a value",
			"DefaultSyncInterval panicked", "DefaultRateLimit panicked",
		}},
		{"methods on the pointer of an embedded value", onPointers{}, []string{
			"method HealthCheck of HealthChecker has a pointer receiver, but the provider is registered as the value " +
				"registry_test.onPointers",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := registry.New(map[string]contracts.Provider{"p": test.provider})
			if err == nil {
				t.Fatal("accepted")
			}
			got := strings.Split(err.Error(), "\n")
			for i := range got {
				if got[i] = strings.TrimPrefix(got[i], `provider "p": `); i < len(test.want) &&
					strings.Contains(got[i], test.want[i]) {
					got[i] = test.want[i]
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// own declares all that describes its reducer.
type own struct{ listed }

func (own) ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error) { return nil, nil }
func (own) ReducesAssociatively()                                              {}
func (own) CheckpointKey(c contracts.Checkpoint) (string, error) {
	return contracts.MaxNumber{}.CheckpointKey(c)
}
func (own) DefaultSyncInterval() time.Duration { return time.Minute }

// strict narrows what MaxTime takes, and dates its cursors earlier: neither is asked by MaxTime.
type strict struct{ synced }

func (strict) CheckCheckpoint(contracts.Checkpoint, time.Time) error { return nil }
func (strict) CursorAt(t time.Time) (contracts.Cursor, error) {
	return contracts.MaxTime{}.CursorAt(t.Add(-time.Hour))
}

func TestNewAcceptsEmbedding(t *testing.T) {
	t.Parallel()
	inner := synced{interval: time.Minute}
	for name, p := range map[string]contracts.Provider{
		"all of them declared":               own{},
		"all of them declared, as pointer":   &own{},
		"a method that no other leans on":    strict{inner},
		"an embedded pointer":                maybe{synced: &inner},
		"a wrapper of a plain provider":      wrapped{named{}},
		"pointer methods of an embedded nil": nilPointers{},
	} {
		if _, err := registry.New(map[string]contracts.Provider{"p": p}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
