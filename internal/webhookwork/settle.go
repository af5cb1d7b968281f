package webhookwork

import (
	"encoding/json"
	"errors"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/fate"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// settle turns what a delivery came to into what is written of it. What the handler says is stored and shown, and so
// redacted first.
func (w *Worker) settle(row *dbsqlc.WebhookClaimRow, err error, result json.RawMessage,
	redactor *redact.Redactor,
) finished {
	now := w.Now()
	err = redactor.Error(err)
	f := finished{row: row, status: "processed", next: now, tries: row.Tries, err: err}
	if len(result) > 0 {
		f.result = redacted(result, redactor)
	}
	if errors.Is(err, errIgnored) {
		f.status = "ignored"
		return f
	}
	policy := fate.Policy{
		Tries: w.Settings.Tries, Backoff: w.Settings.Backoff, Waits: w.Waits, Window: w.Settings.Window,
		DeferralsOnly: true,
	}
	before := fate.History{Tries: int(row.Tries), Deferrals: int(row.Deferrals)}
	if row.WindowFrom != nil {
		before.Age = now.Sub(*row.WindowFrom)
	}
	becomes := policy.Of(err, before)
	if becomes.Failed {
		f.tries++
		becomes.Wait = fate.Spread(becomes.Wait)
	} else if becomes.Cause != deferral.None {
		f.deferrals = row.Deferrals + 1
	}
	f.next, f.reason = now.Add(becomes.Wait), becomes.Reason
	switch becomes.Kind {
	case fate.Done:
	case fate.Skipped:
		skip, _ := contracts.AsSkip(err)
		f.status, f.reason = "skipped", foreign.Line(redactor.Text(skip.Reason))
	case fate.Again:
		f.status, f.waitingFor = "pending", becomes.Cause
	case fate.Dead:
		f.status = "failed"
	}
	if becomes.Asked > 0 {
		w.Log.Warn("a webhook asks to wait for longer than any wait may be; it is tried again before", "webhook",
			row.ID,
			"provider", row.Provider, "asked", becomes.Asked, "at", f.next)
	}
	return f
}

// redacted is what may be shown of a result. A credential that is a bare number in it leaves no JSON behind: then
// nothing is shown.
func redacted(result json.RawMessage, redactor *redact.Redactor) string {
	shown := redactor.ResponseBody("application/json", result, false)
	if !json.Valid(shown) {
		return `"` + redact.Redacted + `"`
	}
	return string(shown)
}
