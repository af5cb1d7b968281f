package tokenrefresher

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestALeaseThatWasTakenTwice is renewed under its later fence until the work under that one is done.
func TestALeaseThatWasTakenTwice(t *testing.T) {
	t.Parallel()
	var l leases
	id := uuid.New()
	first := l.add(&postgres.Grant{IntegrationID: id, Fence: 1})
	second := l.add(&postgres.Grant{IntegrationID: id, Fence: 2})
	first()
	if ids, fences := l.list(); len(ids) != 1 || fences[0] != 2 {
		t.Errorf("renewed are %v under %v", ids, fences)
	}
	second()
	if ids, _ := l.list(); len(ids) != 0 {
		t.Errorf("%v are renewed though nobody works on them", ids)
	}
}

// TestTokenEndpointsAskForTooLong: one that asks for twenty years must not keep a grant from being refreshed.
func TestTokenEndpointsAskForTooLong(t *testing.T) {
	t.Parallel()
	r := &Refresher{Config: Config{Settings: DefaultSettings()}}
	for asked, want := range map[time.Duration]time.Duration{
		20 * 365 * 24 * time.Hour: time.Hour, 10 * time.Minute: 10 * time.Minute,
	} {
		if got := r.wait(&postgres.Grant{}, failure{why: contracts.RetryAfter(asked, errors.New("later"))}); got != want {
			t.Errorf("a refresh that is asked to wait for %s waits for %s", asked, got)
		}
	}
}

// TestWhatRefuses tells an upstream that does not want from one that can't now.
func TestWhatRefuses(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{
		http.StatusBadRequest: true, http.StatusUnauthorized: true, http.StatusForbidden: true, http.StatusNotFound: true,
		http.StatusTooManyRequests: false, http.StatusRequestTimeout: false, http.StatusInternalServerError: false, http.StatusBadGateway: false,
	} {
		err := fmt.Errorf("refresh: %w", &contracts.ResponseError{Status: status})
		if got := refuses(err); got != want {
			t.Errorf("status %d refuses: %v, want %v", status, got, want)
		}
	}
	if refuses(contracts.RetryAfter(time.Minute, errors.New("later"))) {
		t.Error("a wish for patience is taken for a refusal")
	}
	if !refuses(errors.New("the answer has no token")) {
		t.Error("an answer without a token is no refusal")
	}
}
