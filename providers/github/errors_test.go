package github_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// bare is an integration whose client does nothing but sign: it leaves every failure to the provider.
func bare(t *testing.T, u *upstream.Upstream) *contracts.Integration {
	t.Helper()
	own := &http.Client{}
	plain := integration(t, u)
	credentials, err := json.Marshal(github.Credentials{Token: u.Token()})
	if err != nil {
		t.Fatal(err)
	}
	where, err := json.Marshal(metadata(u))
	if err != nil {
		t.Fatal(err)
	}
	in := contracts.NewIntegration(contracts.IntegrationFields{
		ID: plain.ID(), Provider: plain.Provider(), Name: plain.Name(), Credentials: credentials, Metadata: where, Client: own, Log: plain.Log(),
	})
	own.Transport = signing{in}
	return in
}

// signing is a transport that signs as the provider says.
type signing struct{ in *contracts.Integration }

func (s signing) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if err := (github.Provider{}).Authenticate(s.in, req); err != nil {
		return nil, err
	}
	return http.DefaultTransport.RoundTrip(req)
}

func TestFailures(t *testing.T) {
	t.Parallel()
	const list = "GET /repos/demo/issues/issues"
	for name, c := range map[string]struct {
		fault upstream.Fault
		// delay is that of a deferral; -1 is none.
		delay       time.Duration
		isPermanent bool
		says        []string
	}{
		"429":                            {upstream.TooManyRequests(42 * time.Second), 42 * time.Second, false, []string{list, "429"}},
		"secondary limit":                {upstream.SecondaryLimit(90 * time.Second), 90 * time.Second, false, []string{"secondary rate limit"}},
		"secondary limit, no time given": {upstream.SecondaryLimit(0), time.Minute, false, []string{"secondary rate limit"}},
		"primary limit":                  {upstream.PrimaryLimit(25 * time.Minute), 25 * time.Minute, false, []string{"API rate limit exceeded"}},
		"bad token":                      {upstream.ExpiredToken(), -1, true, []string{"expired", "update the integration's credentials"}},
		"forbidden":                      {upstream.Forbidden(), -1, true, []string{"may not read", "demo/issues", "not accessible"}},
		"500":                            {upstream.ServerError(500), -1, false, []string{list, "500 Internal Server Error", "TRIB:"}},
		"502":                            {upstream.ServerError(502), -1, false, []string{list, "502"}},
		"cut body":                       {upstream.CutBody(), -1, false, []string{list, "unexpected EOF"}},
		"cut connection":                 {upstream.CutConnection(), -1, false, []string{list, "EOF"}},
		"malformed JSON":                 {upstream.MalformedJSON(), -1, false, []string{list, "not what was asked for"}},
		"foreign link":                   {upstream.ForeignLink("https://foreign.example"), -1, true, []string{"foreign.example", "not followed"}},
		"foreign redirect":               {upstream.Redirect("https://foreign.example"), -1, true, []string{"foreign.example", "not followed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := start(t, upstream.Options{Issues: 150, Seed: 1})
			u.Always(c.fault)
			err := github.Provider{}.Sync(t.Context(), bare(t, u), &providertest.Session{})
			if err == nil {
				t.Fatal("the sync ends as if it were complete")
			}
			deferral, isDeferral := contracts.AsDeferral(err)
			if isDeferral != (c.delay >= 0) || isDeferral && deferral.Delay != c.delay {
				t.Errorf("%v; want a deferral of %s", err, c.delay)
			}
			if contracts.IsPermanent(err) != c.isPermanent {
				t.Errorf("%v is permanent: %t", err, !c.isPermanent)
			}
			class, ok := github.Provider{}.ClassifyFailure(err)
			if isThrottle := ok && class == contracts.FailureThrottle; isThrottle != isDeferral {
				t.Errorf("%v is of class %q", err, class)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), u.Token()) {
				t.Errorf("%q holds the token", err)
			}
		})
	}
}

// The platform's client repeats and defers by itself; the provider's own errors then stand for what is left.
func TestFailuresThroughThePlatformsClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault upstream.Fault
		// delay is that of a deferral; -1 is none.
		delay time.Duration
		says  string
	}{
		"429":                            {upstream.TooManyRequests(42 * time.Second), 42 * time.Second, "429"},
		"secondary limit":                {upstream.SecondaryLimit(90 * time.Second), 90 * time.Second, "403"},
		"secondary limit, no time given": {upstream.SecondaryLimit(0), time.Minute, "403"},
		"primary limit":                  {upstream.PrimaryLimit(25 * time.Minute), 25 * time.Minute, "403"},
		"forbidden":                      {upstream.Forbidden(), -1, "may not read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := start(t, upstream.Options{Issues: 10, Seed: 1})
			u.Always(c.fault)
			var in *contracts.Integration
			chain := outbound.Config{}.Chain(outbound.Target{Provider: github.Provider{}, Integration: func() *contracts.Integration { return in }})
			in = providertest.Integration(t, github.Provider{}, github.Credentials{Token: u.Token()}, metadata(u), &http.Client{Transport: chain})
			err := github.Provider{}.Sync(t.Context(), in, &providertest.Session{})
			deferral, isDeferral := contracts.AsDeferral(err)
			if isDeferral != (c.delay >= 0) || isDeferral && deferral.Delay != c.delay {
				t.Errorf("%v; want a deferral of %s", err, c.delay)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
		})
	}
	t.Run("down for a moment", func(t *testing.T) {
		t.Parallel()
		u := start(t, upstream.Options{Issues: 10, Seed: 1})
		u.Next(1, upstream.ServerError(502))
		var in *contracts.Integration
		chain := outbound.Config{}.Chain(outbound.Target{Provider: github.Provider{}, Integration: func() *contracts.Integration { return in }})
		in = providertest.Integration(t, github.Provider{}, github.Credentials{Token: u.Token()}, metadata(u), &http.Client{Transport: chain})
		if err := (github.Provider{}).Sync(t.Context(), in, &providertest.Session{}); err != nil {
			t.Error(err)
		}
	})
}

func TestTheRealTokenAndRepositoryAreChecked(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 1})
	for name, c := range map[string]struct {
		token, repo, says string
	}{
		"wrong token":        {"another-token-of-somebody", u.Repo(), "GitHub refuses the token"},
		"missing repository": {u.Token(), "nowhere", "repository demo/nowhere not found, or the token can't see it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := metadata(u)
			m.Repo = c.repo
			in := providertest.Integration(t, github.Provider{}, github.Credentials{Token: c.token}, m, nil)
			for what, err := range map[string]error{
				"sync":   github.Provider{}.Sync(t.Context(), in, &providertest.Session{}),
				"health": github.Provider{}.HealthCheck(t.Context(), in),
			} {
				if !contracts.IsPermanent(err) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), c.token) {
					t.Errorf("%s: %v; want a permanent error that says %q", what, err, c.says)
				}
			}
		})
	}
}

// A token that expires in the middle ends the run, and what was dispatched before stands.
func TestATokenExpiresInTheMiddle(t *testing.T) {
	t.Parallel()
	u := start(t, upstream.Options{Issues: 500, Seed: 1})
	u.After(2, upstream.ExpiredToken())
	session := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), integration(t, u), session); !contracts.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if len(session.Items()) == 0 {
		t.Error("nothing was dispatched before")
	}
}

// Neither a Link nor a redirect makes the provider send anything to another host, not even to another port.
func TestTheTokenStaysAtHome(t *testing.T) {
	t.Parallel()
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a foreign host was asked for %s with Authorization %q", r.URL, r.Header.Get("Authorization"))
	}))
	t.Cleanup(foreign.Close)
	for name, fault := range map[string]upstream.Fault{"link": upstream.ForeignLink(foreign.URL), "redirect": upstream.Redirect(foreign.URL)} {
		t.Run(name, func(t *testing.T) {
			u := start(t, upstream.Options{Issues: 300, Tie: 300})
			u.Always(fault)
			if err := (github.Provider{}).Sync(t.Context(), integration(t, u), &providertest.Session{}); !contracts.IsPermanent(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		base, request string
		isSent        bool
	}{
		{"", "https://api.github.com/repos/a/b", true},
		{"", "https://api.github.com:443/repos/a/b", true},
		{"", "https://API.GitHub.com/repos/a/b", true},
		{"", "http://api.github.com/repos/a/b", false},
		{"", "https://api.github.com:8443/repos/a/b", false},
		{"", "https://api.github.com.evil.example/repos/a/b", false},
		{"", "https://github.com/a/b", false},
		{"https://ghe.example/api/v3/", "https://ghe.example/api/v3/repos/a/b", true},
		{"https://ghe.example/api/v3", "https://api.github.com/repos/a/b", false},
		{"http://127.0.0.1:4010", "http://127.0.0.1:4010/repos/a/b", true},
		{"http://127.0.0.1:4010", "http://127.0.0.1:4011/repos/a/b", false},
	} {
		in := providertest.Integration(t, github.Provider{}, github.Credentials{Token: "a-token-of-twenty-or-more"}, github.Metadata{Owner: "a", Repo: "b", BaseURL: c.base}, nil)
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, c.request, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := (github.Provider{}).Authenticate(in, req); err != nil {
			t.Fatal(err)
		}
		if got := req.Header.Get("Authorization") == "Bearer a-token-of-twenty-or-more"; got != c.isSent {
			t.Errorf("base %q, request %s: token sent: %t, want %t", c.base, c.request, got, c.isSent)
		}
	}
}

// TestErrorBeginsWithTheRequest has the end of a long error cut, as whoever stores it does: what GitHub's support asks
// for is still there.
func TestErrorBeginsWithTheRequest(t *testing.T) {
	t.Parallel()
	failed := &github.Error{Request: "GET /issues", Status: http.StatusBadGateway, Message: strings.Repeat("x", 4000), RequestID: "AB:12"}
	if text := failed.Error()[:100]; !strings.HasPrefix(text, "GET /issues: 502 Bad Gateway (request AB:12): xxx") {
		t.Errorf("the error begins with %q", text)
	}
}
