package e2e_test

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

// account is a provider whose users authorize it, at the server that its metadata names.
type account struct {
	contracts.TypedCredentials[accountCredentials]
	contracts.TypedMetadata[feedMetadata]
	oauth2.AuthorizationCode
}

type accountCredentials struct {
	ClientID string `json:"client_id" validate:"required"`
}

func (account) Name() string { return "Account" }

func newAccount() account {
	return account{AuthorizationCode: oauth2.AuthorizationCode{
		At: func(in *contracts.Integration) (oauth2.Endpoints, error) {
			m, err := contracts.MetadataOf[feedMetadata](in)
			return oauth2.Endpoints{AuthURL: m.URL + "/authorize", TokenURL: m.URL + "/token"}, err
		},
	}}
}

// authority is an authorization server with rotating refresh tokens and one user, who always agrees. A refresh token
// that comes twice ends the grant.
type authority struct {
	*httptest.Server

	mu sync.Mutex
	// bad has the next refresh answered with a token of a type that can't be sent.
	bad  bool
	code string
	seen
}

// seen is what has come to the authority: newest is the refresh token that is good.
type seen struct {
	newest                    string
	issued, refreshed, reused int
}

func newAuthority(t *testing.T, bad bool) *authority {
	t.Helper()
	a := &authority{bad: bad}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", a.serveAuthorize)
	mux.HandleFunc("POST /token", a.serveToken)
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *authority) read() seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen
}

// issue makes a grant, and returns its tokens as they stand among credentials.
func (a *authority) issue() map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	tokens := a.next()
	tokens["token_expires_at"] = time.Now().Add(time.Hour)
	return tokens
}

func (a *authority) next() map[string]any {
	a.issued++
	a.newest = fmt.Sprint("refresh-", a.issued)
	return map[string]any{"access_token": fmt.Sprint("access-", a.issued), "refresh_token": a.newest}
}

func (a *authority) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issued++
	a.code = fmt.Sprint("code-", a.issued)
	back := url.Values{"state": {r.FormValue("state")}, "code": {a.code}}
	http.Redirect(w, r, r.FormValue("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (a *authority) serveToken(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	kind := "Bearer"
	good := r.FormValue("code") == a.code
	if r.FormValue("grant_type") == "refresh_token" {
		if good = r.FormValue("refresh_token") == a.newest; good {
			a.refreshed++
		} else {
			a.reused++
		}
		if a.bad {
			a.bad, kind = false, "mac"
		}
	}
	if a.code = ""; !good {
		a.newest = ""
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	answer := a.next()
	answer["token_type"], answer["expires_in"] = kind, 3600
	_ = json.NewEncoder(w).Encode(answer)
}
