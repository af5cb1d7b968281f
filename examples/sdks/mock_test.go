package sdks_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"

	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// stripeSecret is a key of the form that stripe-mock accepts.
const stripeSecret = "sk_test_s3cretOfTheAccount"

// vendor is an upstream that can be made hostile, and remembers what it was sent.
type vendor struct {
	*httptest.Server
	*upstream.Faults

	mu   sync.Mutex
	sent []*http.Request
}

func newVendor(t *testing.T, handler http.Handler) *vendor {
	t.Helper()
	v := &vendor{Faults: upstream.NewFaults(1)}
	hostile := v.Before(handler)
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		v.sent = append(v.sent, r.Clone(r.Context()))
		v.mu.Unlock()
		hostile.ServeHTTP(w, r)
	}))
	t.Cleanup(v.Close)
	return v
}

// requests are those sent so far, in order of arrival.
func (v *vendor) requests() []*http.Request {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.sent)
}

// stripeMock is Stripe's own mock, in this process: it checks the key's form, paths and parameters against Stripe's description of its API, and
// answers with fixtures.
var stripeMock = sync.OnceValues(func() (http.Handler, error) {
	spec, err := server.LoadSpec(embedded.OpenAPISpec, "")
	if err != nil {
		return nil, err
	}
	fixtures, err := server.LoadFixtures(embedded.OpenAPIFixtures, "")
	if err != nil {
		return nil, err
	}
	stub, err := server.NewStubServer(fixtures, spec, false, false)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(stub.HandleRequest), nil
})

func newStripe(t *testing.T) *vendor {
	t.Helper()
	handler, err := stripeMock()
	if err != nil {
		t.Fatal(err)
	}
	return newVendor(t, handler)
}
