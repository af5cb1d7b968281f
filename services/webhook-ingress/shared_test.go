package webhookingress_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/webhooks"
)

// tooks are the integrations that a delivery id was stored for.
func (f *fixture) took(id string) []string {
	took := map[string]bool{}
	for _, m := range f.stored() {
		if m.GetDeliveryId() == id {
			took[m.GetIntegrationId()] = true
		}
	}
	return slices.Sorted(maps.Keys(took))
}

// What a request costs at the address of a provider does not grow with its integrations: the checks go over so many bytes at most.
func TestCostOfRefusals(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.settings.CheckBytes = 1 << 20 })
	f.ready()
	const integrations = 26
	for i := range integrations - 1 {
		f.put(fmt.Sprint("other-", i), "active", 1, webhooks.Secrets{WebhookSecret: fmt.Sprint("the secret of ", i)})
	}
	f.await("the directory", func() bool { return f.send("signed/other-24/webhook", "x", "the secret of 24", "{}").code == 200 })
	most := f.settings.CheckBytes / integrations
	f.verified.Store(0)
	f.over.Store(0)
	if got := f.send("signed/webhook", "large", "guess", strings.Repeat("x", 1<<20)); got.code != http.StatusRequestEntityTooLarge || f.verified.Load() != 0 {
		t.Errorf("a large body: %d %q after %d checks", got.code, got.status, f.verified.Load())
	}
	got := f.send("signed/webhook", "exact", "guess", strings.Repeat("x", int(most)))
	if got.code != http.StatusForbidden || f.verified.Load() != integrations || f.over.Load() > f.settings.CheckBytes {
		t.Errorf("the largest body: %d %q after %d checks over %d bytes", got.code, got.status, f.verified.Load(), f.over.Load())
	}
	if got := f.send("signed/one/webhook", "named", key, strings.Repeat("x", int(most)+1)); got.code != 200 {
		t.Errorf("the address of an integration: %d %q", got.code, got.status)
	}
}

// With one secret for many customers, one check decides, and a delivery goes to the account that it is about, however many there are.
func TestSharedSecret(t *testing.T) {
	f := newFixture(t)
	ids := map[string][]string{}
	const integrations = 150
	for i := range integrations {
		owner := fmt.Sprint("customer-", i/2)
		ids[owner] = append(ids[owner], f.putOf("shared", fmt.Sprint("shared-", i), owner, "active", 1, webhooks.Secrets{WebhookSecret: key}))
	}
	ask := func(account, id, secret string) answered {
		req := f.request("shared/webhook", id, secret, []byte("{}"))
		if account != "" {
			req.Header.Set("X-Account", account)
		}
		return f.do(req)
	}
	f.await("the directory", func() bool { return f.send("shared/shared-149/webhook", "x", key, "{}").code == 200 })
	f.verified.Store(0)
	for i, c := range []struct {
		account, secret string
		code            int
		status          string
		to              []string
	}{
		{"customer-7", key, 200, "queued", ids["customer-7"]},
		{"customer-74", key, 200, "queued", ids["customer-74"]},
		{"customer-999", key, 200, "ignored", nil},
		{"", key, 200, "ignored", nil},
		{"panic", key, 500, "it can't be told what this webhook is about", nil},
		{"customer-7", "guess", 403, "the signature is missing or wrong", nil},
	} {
		id := fmt.Sprint("delivery-", i)
		if got := ask(c.account, id, c.secret); got.code != c.code || got.status != c.status {
			t.Errorf("about %q: %d %q, want %d %q", c.account, got.code, got.status, c.code, c.status)
		}
		slices.Sort(c.to)
		if diff := cmp.Diff(c.to, f.took(id)); diff != "" {
			t.Errorf("about %q it goes to (-want +got):\n%s", c.account, diff)
		}
		if n := f.verified.Load(); n != int64(i+1) {
			t.Errorf("%d checks for %d requests", n, i+1)
		}
	}
	// A changed secret makes a group of its own; the others stay together.
	f.putOf("shared", "shared-0", "customer-0", "active", 2, webhooks.Secrets{WebhookSecret: "another secret"})
	f.await("the change", func() bool { return ask("customer-0", "changed", "another secret").status == "queued" })
	if got := f.took("changed"); !slices.Equal(got, ids["customer-0"][:1]) {
		t.Errorf("signed with the changed secret it goes to %v", got)
	}
}

// Where the provider can't tell what a delivery is about, it is refused rather than given to another owner's integration.
func TestSecretOfSeveralOwners(t *testing.T) {
	f := newFixture(t)
	f.putOf("signed", "ours", "we", "active", 1, webhooks.Secrets{WebhookSecret: key})
	f.putOf("signed", "ours too", "we", "active", 1, webhooks.Secrets{WebhookSecret: key})
	f.await("ours", func() bool {
		return f.send("signed/webhook", "before", key, "{}").status == "queued" && len(f.took("before")) == 2
	})
	f.putOf("signed", "theirs", "they", "active", 1, webhooks.Secrets{WebhookSecret: key})
	f.await("theirs", func() bool { return f.send("signed/theirs/webhook", "x", key, "{}").code == 200 })
	got := f.send("signed/webhook", "after", key, "{}")
	if got.code != http.StatusConflict || !strings.Contains(got.status, "/integrations/signed/<integration>/webhook") || len(f.took("after")) != 0 {
		t.Errorf("%d %q, stored for %v", got.code, got.status, f.took("after"))
	}
}
