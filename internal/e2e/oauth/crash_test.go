package oauth_test

import (
	"testing"

	"github.com/tributaryhq/tributary/internal/api"
)

// A process dies by kill -9 around a refresh, and another takes over. Only where the upstream had rotated, and the answer died with the process, is the
// grant lost; then it is marked, and its user mends it.
func TestCrashPoints(t *testing.T) {
	tests := map[string]struct{ reused, marked bool }{
		"token-refresher: intent written": {},
		"token-refresher: answered":       {reused: true, marked: true},
		"token-refresher: stored":         {},
		"token-refresher: shadow written": {},
	}
	for point, want := range tests {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t)
			server, metadata := newZitadel(w)
			w.service("scheduler")
			doomed := w.service("token-refresher", "TRIBUTARY_CRASH_AT="+point)
			id := w.create("account", metadata, accountCredentials{ClientID: "web", ClientSecret: "secret"})
			w.await("a token-refresher", func() bool { _, err := w.Secrets(t.Context()); return err == nil })
			if err := w.connect(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			<-doomed.ended
			w.service("token-refresher")
			if want.marked {
				w.await("the grant to be marked", func() bool {
					s, err := w.Token(t.Context(), id.String())
					return err == nil && s.State == "reauth-required"
				})
				if err := w.connect(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			before, _, _, _ := server.counts()
			w.await("two more refreshes", func() bool { n, _, _, _ := server.counts(); return n >= before+2 })
			if status, err := w.Token(t.Context(), id.String()); err != nil || status.State != "connected" {
				t.Errorf("the grant is %s (%s), %v", status.State, status.Reason, err)
			}
			if _, reused, _, _ := server.counts(); (reused == 1) != want.reused || reused > 1 {
				t.Errorf("%d refresh tokens were used twice", reused)
			}
		})
	}
}

// A process that dies once the upstream has revoked leaves a grant that is found to have ended; revoking again ends it here, too.
func TestCrashWhileRevoking(t *testing.T) {
	w := newWorld(t)
	_, metadata := newZitadel(w)
	w.service("scheduler")
	doomed := w.service("token-refresher", "TRIBUTARY_CRASH_AT=token-refresher: revoked upstream")
	id := w.create("account", metadata, accountCredentials{ClientID: "web", ClientSecret: "secret"})
	w.await("a token-refresher", func() bool { _, err := w.Secrets(t.Context()); return err == nil })
	if err := w.connect(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = w.RevokeToken(t.Context(), api.RevokeToken{Provider: "account", Integration: id.String()})
	}()
	<-doomed.ended
	w.service("token-refresher")
	w.await("the grant to be revoked", func() bool {
		status, err := w.RevokeToken(t.Context(), api.RevokeToken{Provider: "account", Integration: id.String()})
		return err == nil && (status.State == "revoked" || status.State == "reauth-required")
	})
	w.await("no token to be left", func() bool { s, err := w.Token(t.Context(), id.String()); return err == nil && !s.Usable })
}
