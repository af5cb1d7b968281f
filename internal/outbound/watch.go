package outbound

import (
	"net/http"
	"time"

	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/vitals"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// watch has the vitals hear of every attempt that left.
type watch struct {
	next        http.RoundTripper
	provider    contracts.Provider
	integration func() *contracts.Integration
	vitals      *vitals.Vitals
	now         func() time.Time
	redactor    func() *redact.Redactor
}

func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	started := w.now()
	res, err := w.next.RoundTrip(req)
	verdict := callOf(req).judge(w.provider, res, err)
	// What never left, and what the caller did not wait for, says nothing.
	if verdict.status != 0 || verdict.class != contracts.FailureUnknown {
		w.vitals.Note(w.integration().ID(), vitals.Attempt{
			Class: verdict.class, Status: verdict.status, Took: w.now().Sub(started),
			Failure: func() string { return w.redactor().Text(verdict.err.Error()) },
		})
	}
	return res, err
}
