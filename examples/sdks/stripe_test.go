package sdks_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v82"

	"github.com/tributaryhq/tributary/examples/sdks"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// newStripeClient is stripe-go against Stripe's mock, on behalf of an integration.
func newStripeClient(w *world, v *vendor) *stripe.Client {
	w.t.Helper()
	in := w.integration("stripe", "stripe", sdks.StripeCredentials{SecretKey: stripeSecret}, sdks.StripeMetadata{BaseURL: v.URL})
	client, err := sdks.Stripe(in)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// Stripe's mock answers 401 to a key that isn't one, so what it answers is signed by the platform.
func TestStripeIsSigned(t *testing.T) {
	w, v := newWorld(t), newStripe(t)
	client := newStripeClient(w, v)
	customer, err := client.V1Customers.Create(t.Context(), &stripe.CustomerCreateParams{Email: stripe.String("ada@example.com")})
	if err != nil || customer.Email != "ada@example.com" {
		t.Fatalf("%v, %v", customer, err)
	}
	for customer, err := range client.V1Customers.List(t.Context(), &stripe.CustomerListParams{}) {
		if err != nil || customer.ID == "" {
			t.Errorf("%v, %v", customer, err)
		}
	}
	for _, r := range v.requests() {
		if got := r.Header.Get("Authorization"); got != "Bearer "+stripeSecret {
			t.Errorf("%s %s was signed %q", r.Method, r.URL.Path, got)
		}
	}
}

// A read is sent again by the platform, not by the SDK, and the SDK sees only the answer that came in the end.
func TestStripeReadsAreRetried(t *testing.T) {
	w, v := newWorld(t), newStripe(t)
	client := newStripeClient(w, v)
	v.Next(2, upstream.Header("Retry-After", "0"))
	v.Next(2, upstream.ServerError(http.StatusServiceUnavailable))
	customer, err := client.V1Customers.Retrieve(t.Context(), "cus_1", nil)
	if err != nil || customer.ID == "" {
		t.Errorf("%v, %v", customer, err)
	}
	if n := len(v.requests()); n != 3 {
		t.Errorf("%d requests were sent, want 3", n)
	}
}

// A write is not, for it may have been done. Its failure reaches the caller as stripe-go words it.
func TestStripeWritesAreNot(t *testing.T) {
	w, v := newWorld(t), newStripe(t)
	client := newStripeClient(w, v)
	v.Next(1, upstream.ServerError(http.StatusServiceUnavailable))
	_, err := client.V1Customers.Create(t.Context(), &stripe.CustomerCreateParams{})
	if _, deferred := contracts.AsDeferral(err); err == nil || deferred {
		t.Errorf("the error is %v", err)
	}
	if n := len(v.requests()); n != 1 {
		t.Errorf("%d requests were sent, want 1", n)
	}
}

// A throttle comes out of the SDK as the deferral that it is, so that a handler can return it as it is.
func TestStripeThrottleIsADeferral(t *testing.T) {
	w, v := newWorld(t), newStripe(t)
	client := newStripeClient(w, v)
	v.Next(1, upstream.TooManyRequests(90*time.Second))
	_, err := client.V1Customers.Create(t.Context(), &stripe.CustomerCreateParams{})
	if deferral, ok := contracts.AsDeferral(err); !ok || deferral.Delay != 90*time.Second {
		t.Errorf("the error is %v", err)
	}
}

// The request log has what stripe-go sent and got, without the key and without what the provider calls sensitive.
func TestStripeRequestsAreRecorded(t *testing.T) {
	w, v := newWorld(t), newStripe(t)
	client := newStripeClient(w, v)
	params := &stripe.CustomerCreateParams{Email: stripe.String("ada@example.com"), Name: stripe.String("Ada")}
	params.AddMetadata("note", "between us")
	if _, err := client.V1Customers.Create(t.Context(), params); err != nil {
		t.Fatal(err)
	}
	row := w.request(w.rows(1)[0].ID)
	if row.Method != http.MethodPost || row.Path != "/v1/customers" || row.Status == nil || *row.Status != http.StatusOK || row.UpstreamID == "" {
		t.Errorf("the row is %+v", row)
	}
	if want := "email=[REDACTED]&metadata[note]=[REDACTED]&name=Ada"; row.RequestBody != want {
		t.Errorf("the request's body is %s, want %s", row.RequestBody, want)
	}
	if !strings.Contains(row.ResponseBody, `"name": "Ada"`) && !strings.Contains(row.ResponseBody, `"name":"Ada"`) {
		t.Errorf("the answer's body is %s", row.ResponseBody)
	}
	for _, text := range []string{row.RequestHeader, row.ResponseHeader, row.RequestBody, row.ResponseBody} {
		for _, secret := range []string{stripeSecret, "ada@example.com", "between us"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %s", secret, text)
			}
		}
	}
}

// keyed is a context with an idempotency key.
func keyed(t *testing.T, key string) context.Context {
	t.Helper()
	ctx, err := contracts.WithIdempotencyKey(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// The caller's key takes the place of the one that stripe-go makes up for each call. With it a write is sent again after a failure, and an answer that was
// had is had again without a request.
func TestStripeIdempotency(t *testing.T) {
	w, v := newWorld(t), newStripe(t)
	client := newStripeClient(w, v)
	v.Next(1, upstream.Header("Retry-After", "0"))
	v.Next(1, upstream.ServerError(http.StatusServiceUnavailable))
	var customers [2]*stripe.Customer
	for i := range customers {
		var err error
		if customers[i], err = client.V1Customers.Create(keyed(t, "customer-7"), &stripe.CustomerCreateParams{Name: stripe.String("Ada")}); err != nil {
			t.Fatal(err)
		}
	}
	if customers[0].ID != customers[1].ID || customers[0].ID == "" {
		t.Errorf("the second call has customer %q, the first %q", customers[1].ID, customers[0].ID)
	}
	sent := v.requests()
	if len(sent) != 2 {
		t.Fatalf("%d requests were sent, want the first and its retry", len(sent))
	}
	for _, r := range sent {
		if key := r.Header.Get("Idempotency-Key"); key != "customer-7" {
			t.Errorf("a request was sent with the key %q", key)
		}
	}
	_, err := client.V1Customers.Create(keyed(t, "customer-7"), &stripe.CustomerCreateParams{Name: stripe.String("Grace")})
	if !errors.Is(err, contracts.ErrIdempotencyMismatch) || !contracts.IsPermanent(err) {
		t.Errorf("another request with the key ends in %v", err)
	}
	for _, row := range w.rows(2) {
		if row.IdempotencyKey != "customer-7" {
			t.Errorf("the row has the key %q", row.IdempotencyKey)
		}
	}
}

// Once Stripe has asked to be left alone nothing is sent, by anybody, and the SDK's error says so in the platform's words.
func TestStripeIsLeftAlone(t *testing.T) {
	w, v := newWorld(t), newStripe(t)
	client := newStripeClient(w, v)
	v.Next(1, upstream.TooManyRequests(90*time.Second))
	for range 3 {
		_, err := client.V1Balance.Retrieve(t.Context(), nil)
		if deferral, ok := contracts.AsDeferral(err); !ok || deferral.Delay < 80*time.Second {
			t.Errorf("the error is %v", err)
		}
	}
	_, err := client.V1Balance.Retrieve(t.Context(), nil)
	if !errors.Is(err, contracts.ErrBudgetExhausted) {
		t.Errorf("the error is %v", err)
	}
	if n := len(v.requests()); n != 1 {
		t.Errorf("%d requests were sent, want 1", n)
	}
	w.rows(1)
}

// When Stripe fails again and again its circuit opens, and what stripe-go is asked for then does not leave.
func TestStripeCircuit(t *testing.T) {
	w, v := newWorld(t), newStripe(t)
	client := newStripeClient(w, v)
	v.Always(upstream.ServerError(http.StatusInternalServerError))
	const enough = 10
	for n := range enough + 5 {
		_, err := client.V1Customers.Create(t.Context(), &stripe.CustomerCreateParams{})
		_, deferred := contracts.AsDeferral(err)
		if isOpen := n >= enough; errors.Is(err, contracts.ErrCircuitOpen) != isOpen || deferred != isOpen {
			t.Errorf("request %d: %v", n+1, err)
		}
	}
	if n := len(v.requests()); n != enough {
		t.Errorf("%d requests were sent, want %d", n, enough)
	}
	w.rows(enough)
}
