package tokenrefresher_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

// server is an authorization server with rotating refresh tokens, and the API that takes its access tokens. It ends a grant when a refresh token comes twice.
type server struct {
	*httptest.Server

	mu sync.Mutex
	// life is how long access tokens last.
	life time.Duration
	// answer, unless nil, is asked before a token is granted; false means that it has answered.
	answer func(w http.ResponseWriter, r *http.Request) bool
	// after is called once a refresh token is spent, before the answer.
	after  func(w http.ResponseWriter, r *http.Request) bool
	codes  map[string]string
	grants map[string]string
	spent  map[string]string
	access map[string]time.Time
	// account is who is signed in; "" makes the upstream not say.
	account string
	// fleeting grants no refresh tokens.
	fleeting bool
	reuses   int
	asked    int
	revoked  []string
	number   int
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{life: time.Hour, codes: map[string]string{}, grants: map[string]string{}, spent: map[string]string{}, access: map[string]time.Time{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /revoke", s.revoke)
	mux.HandleFunc("/api", s.api)
	mux.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.account == "" || s.access[r.Header.Get("Authorization")[len("Bearer "):]].IsZero() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(contracts.Identity{ID: "id-of-" + s.account, Username: s.account})
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) endpoints() oauth2.Endpoints {
	return oauth2.Endpoints{AuthURL: s.URL + "/authorize", TokenURL: s.URL + "/token", RevokeURL: s.URL + "/revoke", Issuer: s.URL}
}

// authorize grants at once, as a user who always agrees.
func (s *server) authorize(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	s.number++
	code := fmt.Sprintf("code-%d", s.number)
	s.codes[code] = q.Get("code_challenge")
	back := url.Values{"state": {q.Get("state")}, "code": {code}, "iss": {s.URL}}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// plant makes a grant, and returns its tokens.
func (s *server) plant(family string) contracts.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue(family)
}

func (s *server) issue(family string) contracts.Token {
	s.number++
	expires := time.Now().Add(s.life)
	token := contracts.Token{AccessToken: fmt.Sprintf("access-%d", s.number), RefreshToken: fmt.Sprintf("refresh-%d", s.number), ExpiresAt: &expires}
	s.access[token.AccessToken], s.grants[token.RefreshToken] = expires, family
	return token
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.answer != nil && !s.answer(w, r) {
		return
	}
	family := "robot"
	switch r.FormValue("grant_type") {
	case "authorization_code":
		challenge, ok := s.codes[r.FormValue("code")]
		delete(s.codes, r.FormValue("code"))
		if !ok || challenge == "" || challenge != challengeOf(r.FormValue("code_verifier")) {
			refuse(w, http.StatusBadRequest, "invalid_grant")
			return
		}
		family = r.FormValue("code")
	case "refresh_token":
		refresh := r.FormValue("refresh_token")
		if used, ok := s.spent[refresh]; ok {
			s.reuses++
			for other, f := range s.grants {
				if f == used {
					delete(s.grants, other)
				}
			}
		}
		found, ok := s.grants[refresh]
		if !ok {
			refuse(w, http.StatusBadRequest, "invalid_grant")
			return
		}
		family = found
		delete(s.grants, refresh)
		s.spent[refresh] = family
	}
	token := s.issue(family)
	if s.after != nil && !s.after(w, r) {
		return
	}
	if s.fleeting {
		token.RefreshToken = ""
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": token.AccessToken, "refresh_token": token.RefreshToken, "expires_in": int(s.life.Seconds()), "token_type": "Bearer",
	})
}

// failOnce has the next request fail as behind a broken proxy.
func (s *server) failOnce() {
	s.with(func() {
		s.answer = func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			s.answer = nil
			return false
		}
	})
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":%q}`, code)
}

func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil && !s.answer(w, r) {
		return
	}
	s.revoked = append(s.revoked, r.FormValue("token"))
	delete(s.grants, r.FormValue("token"))
}

// api takes tokens that have not expired.
func (s *server) api(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := r.Header.Get("Authorization")
	if expires, ok := s.access[token[min(len("Bearer "), len(token)):]]; !ok || !time.Now().Before(expires) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = w.Write([]byte("{}"))
}

// with changes how the server behaves.
func (s *server) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// count reads a number of the server's.
func (s *server) count(n *int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *n
}
