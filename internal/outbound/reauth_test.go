package outbound_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

func holding(token string) *contracts.Integration {
	return contracts.NewIntegration(contracts.IntegrationFields{
		Name:        "main",
		Credentials: json.RawMessage(`{"access_token":"` + token + `"}`),
	})
}

// purse is tokens as a test wants them.
type purse struct {
	fresh   *contracts.Integration
	renewed *contracts.Integration
	err     error
	asked   int
}

func (p *purse) Fresh(context.Context) (*contracts.Integration, error) {
	if p.fresh == nil {
		return nil, p.err
	}
	return p.fresh, nil
}

func (p *purse) Renew(_ context.Context, refused *contracts.Integration) (*contracts.Integration, error) {
	p.asked++
	if p.err != nil {
		return nil, p.err
	}
	if p.renewed == nil {
		return refused, nil
	}
	p.fresh = p.renewed
	return p.renewed, nil
}

// A request that was refused is sent again once, whatever its method, with its body and another token; and not when
// there is no other, or the body can't be had again.
func TestRefusedIsSentAgain(t *testing.T) {
	patience := contracts.RetryAfter(time.Minute, errors.New("under way"))
	tests := []struct {
		name     string
		purse    purse
		once     bool
		want     []string
		status   int
		deferred bool
	}{
		{
			"with another token",
			purse{fresh: holding("old"), renewed: holding("new")},
			false,
			[]string{"old body", "new body"},
			200, false,
		},
		{
			"once",
			purse{fresh: holding("old"), renewed: holding("older")},
			false,
			[]string{"old body", "older body"},
			401, false,
		},
		{"not with the same", purse{fresh: holding("old")}, false, []string{"old body"}, 401, false},
		{
			"not without its body",
			purse{fresh: holding("old"), renewed: holding("new")},
			true,
			[]string{"old body"},
			401,
			false,
		},
		{
			"not when it can't be renewed",
			purse{fresh: holding("old"), err: errors.New("broken")},
			false,
			[]string{"old body"},
			401, false,
		},
		{"later", purse{fresh: holding("old"), err: patience}, false, []string{"old body"}, 0, true},
		{"not at all without a token", purse{err: patience}, false, nil, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				got = append(got, token+" "+string(body))
				if token != "new" {
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			t.Cleanup(up.Close)
			c := &http.Client{Transport: outbound.Config{}.Chain(outbound.Target{
				Provider: tokens{home: up.URL}, Integration: func() *contracts.Integration {
					return holding("stale")
				}, Tokens: &tt.purse,
			})}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, up.URL, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			if tt.once {
				req.GetBody = nil
			}
			resp, err := c.Do(req)
			if _, deferred := contracts.AsDeferral(err); deferred != tt.deferred {
				t.Fatalf("the error is %v, want a deferral: %t", err, tt.deferred)
			}
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode != tt.status {
					t.Errorf("answered %d, want %d", resp.StatusCode, tt.status)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The refusal of a foreign host, which got no token, is none of the token's.
func TestForeignRefusal(t *testing.T) {
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a foreign host got the token")
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(away.Close)
	home := newUpstream(t)
	p := &purse{fresh: holding("old"), renewed: holding("new")}
	c := &http.Client{Transport: outbound.Config{}.Chain(outbound.Target{
		Provider: tokens{home: home.URL}, Integration: func() *contracts.Integration {
			return holding("stale")
		}, Tokens: p,
	})}
	get(t, c, home.URL+"/to?"+away.URL)
	if p.asked != 0 {
		t.Error("another token was asked for")
	}
}
