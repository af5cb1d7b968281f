package webhookingress_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

// hanging is a provider one of whose methods does not return until the test says so.
type hanging struct {
	shared
	in string
}

var hangingMethods = []string{
	"VerifyWebhookSignature", "WebhookChallenge", "WebhookDeliveryID", "ResolveWebhookEvent", "WebhookAccount", "WebhookSecrets", "IntegrationAccount",
}

func hangingKey(i int) string { return fmt.Sprint("hanging-", i) }

func (p hanging) hang(method string) {
	if p.in == method {
		<-p.held
	}
}

func (p hanging) VerifyWebhookSignature(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
	p.hang("VerifyWebhookSignature")
	return p.shared.VerifyWebhookSignature(ctx, in, req)
}

func (p hanging) WebhookChallenge(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) ([]byte, bool, error) {
	p.hang("WebhookChallenge")
	return p.shared.WebhookChallenge(ctx, in, req)
}

// WebhookDeliveryID leaves it to a hash, for which the event is resolved.
func (p hanging) WebhookDeliveryID(*contracts.WebhookRequest) (string, bool) {
	p.hang("WebhookDeliveryID")
	return "", false
}

func (p hanging) ResolveWebhookEvent(req *contracts.WebhookRequest) (string, bool) {
	p.hang("ResolveWebhookEvent")
	return p.shared.ResolveWebhookEvent(req)
}

func (p hanging) WebhookAccount(req *contracts.WebhookRequest) (string, bool) {
	p.hang("WebhookAccount")
	return p.shared.WebhookAccount(req)
}

func (p hanging) WebhookSecrets(in *contracts.Integration) []string {
	p.hang("WebhookSecrets")
	return p.shared.WebhookSecrets(in)
}

func (p hanging) IntegrationAccount(in *contracts.Integration) string {
	p.hang("IntegrationAccount")
	return p.shared.IntegrationAccount(in)
}

// A provider that does not return costs its own webhooks alone, whichever of its methods hangs, and only until it
// returns.
func TestHangingProviders(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.settings.Checks, f.settings.InFlight, f.settings.StoreTimeout, f.settings.CallTimeout = 1, 1, 5*time.Second, 50*time.Millisecond
	})
	f.ready()
	for i := range hangingMethods {
		f.putOf(hangingKey(i), hangingKey(i), "customer", "active", 1, webhooks.Secrets{WebhookSecret: key})
	}
	send := func(i int) answered {
		req := f.request(hangingKey(i)+"/webhook", "", key, []byte("{}"))
		req.Header.Set("X-Account", "customer")
		return f.do(req)
	}
	other := func() bool { return f.send("signed/one/webhook", "other", key, "{}").code == http.StatusOK }
	for i, method := range hangingMethods {
		var got answered
		f.await("a call to be left behind in "+method, func() bool {
			got = send(i)
			return f.ingress.LeftBehind(hangingKey(i)) == 1
		})
		if got.code != http.StatusServiceUnavailable || got.status != "the provider's code does not answer" || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %q", method, got.code, got.status)
		}
		// From here on the provider is not called.
		if got := send(i); got.code != http.StatusServiceUnavailable || f.ingress.LeftBehind(hangingKey(i)) != 1 {
			t.Errorf("%s, again: %d %q, with %d calls left behind", method, got.code, got.status, f.ingress.LeftBehind(hangingKey(i)))
		}
		f.await("another provider's webhook beside "+method, other)
	}
	close(f.held)
	for i, method := range hangingMethods {
		f.await(method+" to return", func() bool { return send(i).code == http.StatusOK })
	}
}
