package providertest

import (
	"bytes"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// foreignHost checks that requests to foreign hosts leave without credentials: those that Authenticate is called for, and those of the client.
func (k *kit) foreignHost(t *testing.T) {
	in := k.integration(t, nil)
	auth, signs := k.Provider.(contracts.Authenticator)
	for _, address := range []string{"https://foreign.example/x", "http://foreign.example:8443/x?a=b"} {
		where := "a request to " + address
		req, err := http.NewRequestWithContext(k.context(t), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if signs {
			if err := k.guarded(t, "Authenticate", func() error { return auth.Authenticate(in, req) }); err != nil {
				t.Errorf("Authenticate of %s: %v; it should leave it as it is", where, err)
			}
		}
		k.noSecret(t, where, written(t, req))
		outward := transportFunc(func(req *http.Request) (*http.Response, error) {
			k.noSecret(t, where, written(t, req))
			return answering(http.StatusOK, "{}").RoundTrip(req)
		})
		plain, err := http.NewRequestWithContext(k.context(t), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := k.integration(t, outward).HTTP().Do(plain)
		if err == nil {
			_ = res.Body.Close()
		}
	}
}

func written(t *testing.T, req *http.Request) string {
	t.Helper()
	var sent bytes.Buffer
	if err := req.Write(&sent); err != nil {
		t.Fatal(err)
	}
	return sent.String()
}

// requestHosts are the hosts of a provider's requests, without those of its flow.
type requestHosts struct {
	contracts.Provider
	contracts.HostNamer
}

// covered checks that credentials go to the hosts that CredentialHosts names, where the provider has it.
func (k *kit) covered(t *testing.T, provider contracts.ScheduledSync) {
	namer, ok := k.Provider.(contracts.HostNamer)
	if !ok {
		return
	}
	hosts, err := outbound.CredentialHosts(requestHosts{k.Provider, namer}, k.integration(t, nil))
	if err != nil {
		t.Errorf("CredentialHosts: %v", err)
		return
	}
	if !hosts.Named {
		return
	}
	secrets := k.secrets(t)
	var foreign atomic.Value
	stop := errors.New("the suite has seen enough")
	_ = k.guarded(t, "the sync", func() error {
		return provider.Sync(k.context(t), k.integration(t, transportFunc(func(req *http.Request) (*http.Response, error) {
			if len(carried(req, secrets)) > 0 && !hosts.Cover(req.URL) {
				foreign.Store(req.URL.Host)
			}
			return nil, stop
		})), &Session{})
	})
	if host := foreign.Load(); host != nil {
		t.Errorf("the sync sends credentials to %s, which is not among the hosts that CredentialHosts names: name it there", host)
	}
}
