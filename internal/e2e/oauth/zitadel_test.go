package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const tokenLife = 5 * time.Second

// rotating is the storage of zitadel's OpenID provider, with tokens that end soon, and grants that end when a refresh token comes twice.
type rotating struct {
	*storage.Storage

	mu sync.Mutex
	// families is the family of every refresh token there was, spent those that were used, newest the one that is good.
	families map[string]string
	spent    map[string]bool
	newest   map[string]string
	ends     map[string]time.Time

	refreshed, reused, expired, served int
}

func (s *rotating) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, current string) (access, refresh string, ends time.Time, err error) {
	access, refresh, _, err = s.Storage.CreateAccessAndRefreshTokens(ctx, request, current)
	if err != nil {
		return "", "", time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	family := uuid.NewString()
	if current != "" {
		family = s.families[current]
		s.spent[current] = true
		s.refreshed++
	}
	ends = time.Now().Add(tokenLife)
	s.families[refresh], s.newest[family], s.ends[access] = family, refresh, ends
	return access, refresh, ends, nil
}

func (s *rotating) TokenRequestByRefreshToken(ctx context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	reused, newest := s.spent[token], s.newest[s.families[token]]
	if reused {
		s.reused++
	}
	s.mu.Unlock()
	if reused {
		_ = s.Storage.RevokeToken(ctx, newest, "", "web")
		return nil, errors.New("used before")
	}
	return s.Storage.TokenRequestByRefreshToken(ctx, token)
}

func (s *rotating) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, id, subject, origin string) error {
	s.mu.Lock()
	ends, known := s.ends[id]
	if now := time.Now(); known && !now.Before(ends) {
		// A token is used until a second before its end, and a request may be a while on its way.
		if now.After(ends.Add(3 * time.Second)) {
			s.expired++
		}
		s.mu.Unlock()
		return errors.New("it has expired")
	}
	s.served++
	s.mu.Unlock()
	return s.Storage.SetUserinfoFromToken(ctx, info, id, subject, origin)
}

func (s *rotating) counts() (refreshed, reused, expired, served int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refreshed, s.reused, s.expired, s.served
}

// unauthorized answers a token that is not good with 401, as RFC 6750 has it, where the provider says 403. Rotation ends the old access token at once, so that
// this happens to requests that are on their way.
type unauthorized struct {
	http.ResponseWriter
	api bool
}

func (u *unauthorized) WriteHeader(status int) {
	if u.api && status == http.StatusForbidden {
		status = http.StatusUnauthorized
	}
	u.ResponseWriter.WriteHeader(status)
}

// newZitadel serves the provider, and tells the world how its users log in.
func newZitadel(w *world) (*rotating, accountMetadata) {
	w.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	client := storage.WebClient("web", "secret", w.front.URL+"/integrations/oauth/callback")
	s := &rotating{
		Storage:  storage.NewStorageWithClients(storage.NewUserStore(issuer), map[string]*storage.Client{"web": client}),
		families: map[string]string{}, spent: map[string]bool{}, newest: map[string]string{}, ends: map[string]time.Time{},
	}
	provider := exampleop.SetupServer(issuer, s, slog.New(slog.DiscardHandler), false)
	server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		provider.ServeHTTP(&unauthorized{ResponseWriter: rw, api: r.URL.Path == "/userinfo"}, r)
	})
	server.Start()
	w.t.Cleanup(server.Close)
	w.login = func(b *http.Client, at *http.Response) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, at.Body)
		_ = at.Body.Close()
		request := at.Request.URL.Query().Get("authRequestID")
		if request == "" {
			return nil, fmt.Errorf("no login at %s", at.Request.URL.Path)
		}
		return b.PostForm(issuer+"/login/username", url.Values{"id": {request}, "username": {"test-user2"}, "password": {"verysecure"}})
	}
	return s, accountMetadata{Issuer: issuer, AuthURL: issuer + "/auth", TokenURL: issuer + "/oauth/token", RevokeURL: issuer + "/revoke", API: issuer + "/userinfo"}
}

// Two processes that refresh and two that send requests share twenty integrations with tokens of five seconds: no refresh token is used twice, and no request leaves
// with a token that has expired.
func TestTokensStayFresh(t *testing.T) {
	w := newWorld(t)
	server, metadata := newZitadel(w)
	w.service("scheduler")
	w.service("token-refresher")
	w.service("token-refresher")
	ids := make([]uuid.UUID, 20)
	for i := range ids {
		ids[i] = w.create(fmt.Sprintf("account-%d", i), metadata, accountCredentials{ClientID: "web", ClientSecret: "secret"})
	}
	w.connectAll(ids)
	env := []string{"INTEGRATIONS=" + joined(ids), "PAUSE=100ms"}
	workers := []*process{w.start("worker", nil, env...), w.start("worker", nil, env...)}
	w.await("every token to be refreshed twice, and requests", func() bool {
		refreshed, _, _, served := server.counts()
		return refreshed >= 2*len(ids)+len(ids)/2 && served >= 20*len(ids)
	})
	var total tally
	for _, worker := range workers {
		seen := worker.stop(t)
		total.OK, total.Refused, total.Deferred, total.Failed = total.OK+seen.OK, total.Refused+seen.Refused, total.Deferred+seen.Deferred, total.Failed+seen.Failed
		if seen.Failed > 0 {
			t.Errorf("requests failed: %v", seen.Failures)
		}
	}
	refreshed, reused, expired, served := server.counts()
	if reused != 0 || expired != 0 {
		t.Errorf("%d refresh tokens were used twice, %d requests came with an expired token; want none", reused, expired)
	}
	if total.OK == 0 {
		t.Error("no request was answered")
	}
	for _, id := range ids {
		if status, err := w.Token(t.Context(), id.String()); err != nil || status.State != "connected" {
			t.Errorf("the grant of %s is %s (%s), %v", id, status.State, status.Reason, err)
		}
	}
	if total.Refused != 0 {
		t.Errorf("%d requests were refused, want each of them sent again with another token", total.Refused)
	}
	t.Logf("%d refreshes; %d requests answered, %d put off; %d came in", refreshed, total.OK, total.Deferred, served)
}
