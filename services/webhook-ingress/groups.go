package webhookingress

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// groups remembers the candidates at the address of each provider until the directory changes.
type groups struct {
	calls *calls
	mu    sync.Mutex
	known map[string]*group
}

// group is what is remembered of one provider. Its lock is held while the provider's code is asked, so that only
// requests of the same provider wait for that.
type group struct {
	mu   sync.Mutex
	last *grouped
}

func newGroups(calls *calls) *groups { return &groups{calls: calls, known: map[string]*group{}} }

func (g *groups) group(provider string) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known[provider] == nil {
		g.known[provider] = &group{}
	}
	return g.known[provider]
}

type grouped struct {
	entries    []*directory.Entry
	enabled    int
	candidates []*candidate
	identities map[*directory.Entry]identity
}

// identity is what a [contracts.WebhookSharer] knows of an integration.
type identity struct {
	secrets [sha256.Size]byte
	account string
}

// of returns the candidates among the entries of a provider, nil when there is no entry. The directory makes a new
// slice for each change. The error is [errNoAnswer].
func (g *groups) of(ctx context.Context, provider string, entries []*directory.Entry, handler contracts.WebhookHandler) (*grouped, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	group := g.group(provider)
	group.mu.Lock()
	defer group.mu.Unlock()
	last := group.last
	if last != nil && len(last.entries) == len(entries) && &last.entries[0] == &entries[0] {
		return last, nil
	}
	next := &grouped{entries: entries, identities: map[*directory.Entry]identity{}}
	bySecrets := map[[sha256.Size]byte]*candidate{}
	sharer, shares := handler.(contracts.WebhookSharer)
	for _, entry := range entries {
		if entry.Status == statusDisabled {
			continue
		}
		next.enabled++
		switch {
		case entry.Problem != nil:
		case !shares:
			next.candidates = append(next.candidates, newCandidate(entry, ""))
		default:
			is, err := g.identify(ctx, last, sharer, entry)
			if err != nil {
				return nil, err
			}
			next.identities[entry] = is
			if same := bySecrets[is.secrets]; same != nil {
				same.add(entry, is.account)
				continue
			}
			bySecrets[is.secrets] = newCandidate(entry, is.account)
			next.candidates = append(next.candidates, bySecrets[is.secrets])
		}
	}
	group.last = next
	return next, nil
}

// identify asks the provider, unless it was asked before. An integration that the provider can't read is like no other.
func (g *groups) identify(ctx context.Context, last *grouped, sharer contracts.WebhookSharer, entry *directory.Entry) (identity, error) {
	if last != nil {
		if known, ok := last.identities[entry]; ok {
			return known, nil
		}
	}
	is, err := ask(ctx, g.calls, entry.Provider(), func(context.Context) (identity, error) { return identityOf(sharer, entry), nil })
	if err == nil || errors.Is(err, errNoAnswer) {
		return is, err
	}
	panics.Report(entry.Log(), err)
	return identity{secrets: sha256.Sum256([]byte(entry.ID()))}, nil
}

func identityOf(sharer contracts.WebhookSharer, entry *directory.Entry) identity {
	var secrets []byte
	for _, secret := range sharer.WebhookSecrets(entry.Integration) {
		secrets = binary.BigEndian.AppendUint64(secrets, uint64(len(secret)))
		secrets = append(secrets, secret...)
	}
	return identity{secrets: sha256.Sum256(secrets), account: sharer.IntegrationAccount(entry.Integration)}
}
