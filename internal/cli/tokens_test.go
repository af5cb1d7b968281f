package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/cli"
)

const connectURL = "https://connect.example.com/integrations/1/oauth/authorize?signature=x"

func TestConnect(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.on(api.IntegrationsShow, "", api.Integration{Name: "mail", Provider: "mail"})
	s.on(api.TokenShow, "", &api.Error{Code: api.NotFound}, api.TokenStatus{State: "missing"}, api.TokenStatus{State: "connected", Version: 2})
	s.on(api.TokenConnect, "mail", api.ConnectLink{URL: connectURL, ExpiresAt: now.Add(time.Minute)})
	got := s.run(nil, "integrations", "connect", "mail", "--wait", "--by", "ann")
	if got.code != cli.ExitOK || got.out != connectURL+"\n" || got.err != "connected\n" {
		t.Errorf("got %+v", got)
	}
}

func TestConnectWaitsNoLongerThanTheLink(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.on(api.IntegrationsShow, "", api.Integration{Name: "mail", Provider: "mail"})
	s.on(api.TokenShow, "", api.TokenStatus{State: "missing"})
	s.on(api.TokenConnect, "mail", api.ConnectLink{URL: connectURL, ExpiresAt: now})
	got := s.run(nil, "integrations", "connect", "mail", "--wait")
	if got.code != cli.ExitFailed || !strings.Contains(got.err, "expired") {
		t.Errorf("got %+v", got)
	}
}

func TestConnectWithoutRefresher(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	got := s.run(nil, "integrations", "connect", "mail")
	if got.code != cli.ExitUnavailable || !strings.Contains(got.err, "no token-refresher answers") {
		t.Errorf("got %+v", got)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.on(api.IntegrationsShow, "", api.Integration{Name: "mail", Provider: "mail"})
	s.on(api.TokenRevoke, "mail", api.TokenStatus{State: "revoked", Reason: "revoked by ann"})
	got := s.run(nil, "integrations", "revoke", "mail", "--local-only", "--by", "ann")
	if got.code != cli.ExitOK || got.out != "revoked by ann\n" {
		t.Errorf("got %+v", got)
	}
	s.nextAsked()
	if asked := s.nextAsked(); !strings.Contains(asked, `"local_only":true`) || !strings.Contains(asked, `"by":"ann"`) {
		t.Errorf("asked %s", asked)
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	first := uuid.MustParse("01930000-0000-7000-8000-000000000001")
	report := api.SecretsReport{Primary: "new", Ring: []string{"new", "old"}, Left: 3, Keys: []api.Key{{ID: "lost", Sealed: 1}, {ID: "new", InRing: true}, {ID: "old", Sealed: 2, InRing: true}}}
	tests := []struct {
		name  string
		steps []any
		code  int
		out   string
		err   string
	}{
		{
			"in two steps",
			[]any{api.SecretsRotated{Sealed: 2, Next: &first, Left: 1}, api.SecretsRotated{Sealed: 1}},
			cli.ExitOK, "3 sealed anew with new, 0 left\n", "",
		},
		{
			"with one that can't be opened",
			[]any{api.SecretsRotated{Sealed: 2, Stuck: []uuid.UUID{first}, Left: 1}},
			cli.ExitFailed, "2 sealed anew with new, 1 left\n", first.String(),
		},
		{
			"with something left",
			[]any{api.SecretsRotated{Sealed: 2, Left: 1}},
			cli.ExitFailed, "2 sealed anew with new, 1 left\n", "run it again",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStub(t)
			s.on(api.SecretsStatus, "", report)
			s.on(api.SecretsRotate, "", tt.steps...)
			got := s.run(nil, "secrets", "rotate", "--by", "ann")
			if got.code != tt.code || got.out != tt.out || !strings.Contains(got.err, tt.err) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.on(api.SecretsStatus, "", api.SecretsReport{
		Primary: "new", Ring: []string{"new", "old"}, Left: 3,
		Keys: []api.Key{{ID: "lost", Sealed: 1}, {ID: "new", InRing: true}, {ID: "old", Sealed: 2, InRing: true}},
	})
	s.on(api.SecretsAudit, "", api.AuditPage{Entries: []api.AuditEntry{{At: now, Integration: "mail", Action: "read", Who: "ann", Why: "change some of them", Version: 2, Key: "old"}}})
	s.on(api.TokenShow, "", api.TokenStatus{Integration: "mail", Provider: "mail", State: "connected", ExpiresAt: &now})
	got := s.run(nil, "secrets", "status").out + s.run(nil, "secrets", "audit").out + s.run(nil, "integrations", "token", "mail").out
	golden(t, got)
}
