package webhookingress

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// candidate is what one check of a signature decides about: an integration, or all that share its secrets.
type candidate struct {
	first *directory.Entry
	all   []*directory.Entry
	// accounts has them by what they are about, where the provider can tell.
	accounts map[string][]*directory.Entry
}

func (c *candidate) add(entry *directory.Entry, account string) {
	c.all = append(c.all, entry)
	if account != "" {
		c.accounts[account] = append(c.accounts[account], entry)
	}
}

func newCandidate(entry *directory.Entry, account string) *candidate {
	c := &candidate{first: entry, accounts: map[string][]*directory.Entry{}}
	c.add(entry, account)
	return c
}

// address is what a request was sent to.
type address struct {
	provider string
	// named is the integration of the address, nil for the address of the provider.
	named *directory.Entry
	// candidates are what the signature is checked with. An integration whose credentials can't be opened is none.
	candidates []*candidate
}

// statusDisabled is the status of an integration that takes no webhooks.
const statusDisabled = "disabled"

// addressed finds the integrations that the address stands for.
func (g *Ingress) addressed(ctx context.Context, provider, name string, handler contracts.WebhookHandler) (*address, *answer) {
	to, known := &address{provider: provider}, false
	if name != "" {
		if entry := g.Directory.Find(name); entry != nil && entry.Provider() == provider && entry.Status != statusDisabled {
			to.named, known = entry, true
			if entry.Problem == nil {
				to.candidates = []*candidate{newCandidate(entry, "")}
			}
		}
	} else if group, err := g.groups.of(ctx, provider, g.Directory.Of(provider), handler); err != nil {
		later := g.noAnswer(provider, err)
		return nil, &later
	} else if group != nil {
		to.candidates, known = group.candidates, group.enabled > 0
	}
	switch {
	case !known && g.Directory.Ready() != nil:
		later := g.later("this service has only just started", "starting")
		return nil, &later
	case !known:
		none := unknown("no such integration")
		return nil, &none
	case len(to.candidates) > g.Settings.Candidates:
		return nil, &answer{
			code: http.StatusBadRequest, label: "ambiguous",
			status: fmt.Sprintf("more than %d integrations have this address; use %s/%s/<integration>/webhook", g.Settings.Candidates, g.Prefix, provider),
		}
	}
	return to, nil
}

// mostBytes is how large a body may be: what a message of the broker takes, and what so many checks may go over.
func (g *Ingress) mostBytes(to *address) int64 {
	most := min(g.Settings.MaxBody, int64(g.Bus.MaxBody()-g.Settings.MaxHeader))
	return min(most, g.Settings.CheckBytes/int64(max(len(to.candidates), 1)))
}

// recipients are the integrations that a verified delivery is for: the one of the address, or those of its account where the provider can
// tell, or else all that the signature stands for, as long as they have one owner.
func (g *Ingress) recipients(ctx context.Context, handler contracts.WebhookHandler, to *address, matching []*candidate, req *contracts.WebhookRequest) ([]*directory.Entry, *answer) {
	if to.named != nil {
		return []*directory.Entry{to.named}, nil
	}
	sharer, tells := handler.(contracts.WebhookSharer)
	if !tells {
		return g.unlessAmbiguous(to, ofAll(matching))
	}
	account, err := ask(ctx, g.calls, to.provider, func(context.Context) (string, error) {
		account, ok := sharer.WebhookAccount(req)
		if !ok {
			account = ""
		}
		return account, nil
	})
	if errors.Is(err, errNoAnswer) {
		later := g.noAnswer(to.provider, err)
		return nil, &later
	}
	if err != nil {
		panics.Report(g.Log, err)
		return nil, &answer{code: http.StatusInternalServerError, status: "it can't be told what this webhook is about", label: "failed"}
	}
	var about []*directory.Entry
	for _, c := range matching {
		about = append(about, c.accounts[account]...)
	}
	if len(about) == 0 {
		return nil, &answer{code: http.StatusOK, status: "ignored", label: "ignored"}
	}
	return g.limited(to, about)
}

func ofAll(matching []*candidate) (all []*directory.Entry) {
	for _, c := range matching {
		all = append(all, c.all...)
	}
	return all
}

// unlessAmbiguous refuses a delivery that may be another owner's.
func (g *Ingress) unlessAmbiguous(to *address, all []*directory.Entry) ([]*directory.Entry, *answer) {
	for _, entry := range all {
		if entry.Owner() != all[0].Owner() {
			return nil, g.ambiguous(to, "the secret is that of integrations of several owners")
		}
	}
	return g.limited(to, all)
}

// limited refuses a delivery that would be stored too often.
func (g *Ingress) limited(to *address, all []*directory.Entry) ([]*directory.Entry, *answer) {
	if len(all) > g.Settings.Candidates {
		return nil, g.ambiguous(to, fmt.Sprintf("the delivery is for more than %d integrations", g.Settings.Candidates))
	}
	return all, nil
}

func (g *Ingress) ambiguous(to *address, why string) *answer {
	instead := fmt.Sprintf("%s/%s/<integration>/webhook", g.Prefix, to.provider)
	g.refusals.ambiguous(to.provider, why, instead)
	return &answer{code: http.StatusConflict, label: "ambiguous", status: why + "; use " + instead}
}
