package webhookingress

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// groups remembers the candidates at the address of each provider until the directory changes.
type groups struct {
	mu    sync.Mutex
	known map[string]*grouped
}

func newGroups() *groups { return &groups{known: map[string]*grouped{}} }

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

// of returns the candidates among the entries of a provider, nil when there is no entry. The directory makes a new slice for each change.
func (g *groups) of(provider string, entries []*directory.Entry, handler contracts.WebhookHandler) *grouped {
	if len(entries) == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.known[provider]
	if last != nil && len(last.entries) == len(entries) && &last.entries[0] == &entries[0] {
		return last
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
			is := last.identify(sharer, entry)
			next.identities[entry] = is
			if same := bySecrets[is.secrets]; same != nil {
				same.add(entry, is.account)
				continue
			}
			bySecrets[is.secrets] = newCandidate(entry, is.account)
			next.candidates = append(next.candidates, bySecrets[is.secrets])
		}
	}
	g.known[provider] = next
	return next
}

// identify asks the provider, unless it was asked before. An integration that the provider can't read is like no other.
func (g *grouped) identify(sharer contracts.WebhookSharer, entry *directory.Entry) identity {
	if g != nil {
		if known, ok := g.identities[entry]; ok {
			return known
		}
	}
	var secrets []byte
	var is identity
	if err := panics.Try("the provider", func() error {
		for _, secret := range sharer.WebhookSecrets(entry.Integration) {
			secrets = binary.BigEndian.AppendUint64(secrets, uint64(len(secret)))
			secrets = append(secrets, secret...)
		}
		is.account = sharer.IntegrationAccount(entry.Integration)
		return nil
	}); err != nil {
		panics.Report(entry.Log(), err)
		secrets, is.account = []byte(entry.ID()), ""
	}
	is.secrets = sha256.Sum256(secrets)
	return is
}
