package providertest

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// identity checks that the upstream's answer is who is calling, or an error. A fixture may have no answer to it.
func (k *kit) identity(t *testing.T, provider contracts.IdentityResolver) {
	resolve := func(transport http.RoundTripper) (id contracts.Identity, err error) {
		err = k.guarded(t, "ResolveIdentity", func() (err error) {
			id, err = provider.ResolveIdentity(k.context(t), k.integration(t, transport))
			return err
		})
		k.checkError(t, err)
		return id, err
	}
	id, err := resolve(nil)
	if err == nil && id.ID == "" {
		t.Error("ResolveIdentity returns neither an ID nor an error: the ID is what tells two accounts apart")
	}
	if err != nil {
		t.Logf("the fixture's upstream does not tell who is calling: %v", err)
	}
	k.noSecret(t, "what ResolveIdentity returns", string(encode(t, id)))
	for _, status := range []int{http.StatusUnauthorized, http.StatusInternalServerError} {
		if _, err := resolve(answering(status, "")); err == nil {
			t.Errorf("ResolveIdentity returns no error although the upstream answers %d", status)
		}
	}
}

// health checks that a sick upstream is not healthy.
func (k *kit) health(t *testing.T, provider contracts.HealthChecker) {
	check := func(transport http.RoundTripper) error {
		err := k.guarded(t, "HealthCheck", func() error { return provider.HealthCheck(k.context(t), k.integration(t, transport)) })
		k.checkError(t, err)
		return err
	}
	if err := check(nil); err != nil {
		t.Errorf("HealthCheck of a healthy upstream: %v", err)
	}
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError} {
		if check(answering(status, "")) == nil {
			t.Errorf("HealthCheck is healthy although the upstream answers %d", status)
		}
	}
	limited := answering(http.StatusTooManyRequests, "")
	limited.header = http.Header{"Retry-After": {strconv.Itoa(int(wait.Seconds()))}}
	if _, deferred := contracts.AsDeferral(check(limited)); !deferred {
		t.Error("HealthCheck of an upstream that answers 429 should be a deferral, which says nothing about health")
	}
}
