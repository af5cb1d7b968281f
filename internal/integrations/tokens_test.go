package integrations_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// mail is a provider with tokens; nothing here calls its flow.
type mail struct {
	shopRules
	contracts.OAuth2Defaults
}

type shopRules struct{}

func (shopRules) Name() string                     { return "Mail" }
func (shopRules) CredentialRules() contracts.Rules { return nil }
func (shopRules) MetadataRules() contracts.Rules   { return nil }
func (shopRules) CredentialData() any              { return nil }
func (shopRules) MetadataData() any                { return nil }

func (mail) AuthorizationURL(context.Context, *contracts.Integration, string, string) (string, error) {
	return "", errors.New("not here")
}

func (mail) ExchangeCode(context.Context, *contracts.Integration, string, string) (contracts.Token, error) {
	return contracts.Token{}, errors.New("not here")
}

func (mail) RefreshToken(context.Context, *contracts.Integration) (contracts.Token, error) {
	return contracts.Token{}, errors.New("not here")
}

func (mail) CredentialHosts(*contracts.Integration) ([]string, error) {
	return []string{"mail.example.com"}, nil
}

func (mail) RevokeToken(context.Context, *contracts.Integration) error { return errors.New("not here") }

// refresher answers those who ask for tokens.
type refresher struct {
	asked  atomic.Int64
	answer func(have string, refused bool) (integrations.TokenState, error)
}

func (r *refresher) Token(_ context.Context, _, _, have string, refused bool) (integrations.TokenState, error) {
	r.asked.Add(1)
	return r.answer(have, refused)
}

// putToken stores a token, as a token-refresher does, and returns the integration's version.
func (f *fixture) putToken(t *testing.T, token string, expires time.Time, version int64) int64 {
	t.Helper()
	var raised int64
	err := f.store.InTx(t.Context(), func(tx *postgres.Tx) error {
		raw := fmt.Appendf(nil, `{"access_token":%q,"refresh_token":"r","token_expires_at":%q}`, token, expires.Format(time.RFC3339Nano))
		if _, err := f.store.PutCredentials(t.Context(), tx, f.id, raw, version, postgres.Access{At: now}); err != nil {
			return err
		}
		row, err := tx.IntegrationUpdate(t.Context(), dbsqlc.IntegrationUpdateParams{ID: f.id, Now: now})
		if err == nil {
			raised = row.Version
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return raised
}

func sentToken(ctx context.Context, in *contracts.Integration) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mail.example.com/", nil)
	if err != nil {
		return "", err
	}
	resp, err := in.HTTP().Do(req)
	if err != nil {
		return "", err
	}
	return resp.Header.Get("Authorization"), resp.Body.Close()
}

// While a token is fresh nobody is asked, and no query is made.
func TestFreshTokenCostsNothing(t *testing.T) {
	f := newFixture(t, "mail")
	in := f.load(t, f.putToken(t, "first", time.Now().Add(time.Hour), 0))
	f.pool.Close()
	for range 100 {
		if got, err := sentToken(t.Context(), in); err != nil || got != "Bearer first" {
			t.Fatalf("sent %q, %v", got, err)
		}
	}
	if n := f.refresher.asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// When it has expired, all who wait ask once, and go on with what there is then.
func TestExpiredTokenIsAskedForOnce(t *testing.T) {
	f := newFixture(t, "mail")
	in := f.load(t, f.putToken(t, "first", time.Now().Add(-time.Second), 0))
	waiting := make(chan struct{})
	f.refresher.answer = func(string, bool) (integrations.TokenState, error) {
		<-waiting
		return integrations.TokenState{Usable: true, Version: f.putToken(t, "second", time.Now().Add(time.Hour), 1)}, nil
	}
	var group errgroup.Group
	for range 50 {
		group.Go(func() error {
			got, err := sentToken(t.Context(), in)
			if err == nil && got != "Bearer second" {
				err = errors.New("sent " + got)
			}
			return err
		})
	}
	close(waiting)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if n := f.refresher.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// Without a token that is good, what needs one is put off, for as long as the answer says.
func TestNoTokenIsADeferral(t *testing.T) {
	tests := map[string]struct {
		state integrations.TokenState
		err   error
		least time.Duration
	}{
		"under way":         {integrations.TokenState{RetryAfter: time.Minute}, nil, time.Minute},
		"lost":              {integrations.TokenState{Reason: "the user must authorize again"}, nil, time.Second},
		"nobody who knows":  {integrations.TokenState{}, errors.New("nobody answers"), time.Second},
		"the same as there": {integrations.TokenState{Usable: true, Version: 1}, nil, time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, "mail")
			in := f.load(t, f.putToken(t, "first", time.Now().Add(-time.Second), 0))
			f.refresher.answer = func(string, bool) (integrations.TokenState, error) { return tt.state, tt.err }
			_, err := sentToken(t.Context(), in)
			deferral, ok := contracts.AsDeferral(err)
			if !ok || deferral.Delay < tt.least {
				t.Errorf("the error is %v, want a deferral of %s at least", err, tt.least)
			}
		})
	}
}

// A token that is about to end serves on while no other is to be had, and nobody asks for each request.
func TestEndingTokenServesOn(t *testing.T) {
	f := newFixture(t, "mail")
	in := f.load(t, f.putToken(t, "first", time.Now().Add(2000*time.Second), 0))
	f.refresher.answer = func(string, bool) (integrations.TokenState, error) {
		return integrations.TokenState{}, errors.New("broken")
	}
	if got, err := sentToken(t.Context(), in); err != nil || got != "Bearer first" {
		t.Fatalf("sent %q, %v", got, err)
	}
	f.clock.Store(int64(1975 * time.Second))
	for range 20 {
		if got, err := sentToken(t.Context(), in); err != nil || got != "Bearer first" {
			t.Fatalf("sent %q, %v", got, err)
		}
	}
	if n := f.refresher.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	f.clock.Store(int64(2000 * time.Second))
	if _, err := sentToken(t.Context(), in); err == nil {
		t.Error("a token that has expired was sent")
	}
}

// What the check of a fresh token adds to a request: beside the same requests without one. Run it with -bench Token.
func BenchmarkTokenCheck(b *testing.B) {
	for _, provider := range []string{"mail", "mail without a check"} {
		b.Run(provider, func(b *testing.B) {
			in := contracts.NewIntegration(contracts.IntegrationFields{
				Credentials: fmt.Appendf(nil, `{"access_token":"t","token_expires_at":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339)),
			})
			target := outbound.Target{Provider: mail{}, Integration: func() *contracts.Integration { return in }}
			if provider == "mail" {
				target.Tokens = integrations.TokensOf(in, mail{}, &refresher{})
			}
			client := &http.Client{Transport: outbound.Config{Base: echo{}}.Chain(target)}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Get("https://mail.example.com/")
				if err != nil {
					b.Fatal(err)
				}
				_ = resp.Body.Close()
			}
		})
	}
}
