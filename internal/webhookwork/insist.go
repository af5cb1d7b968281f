package webhookwork

import (
	"context"
	"errors"
	"strings"

	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
)

// refusals is how often Postgres may refuse what became of a claim before others get its slot.
const refusals = 3

// insist writes what became of a claim, and tries that again until it is told to stop: then another worker takes the
// claim when its lease is over. While Postgres is away, the claim keeps its slot. While Postgres refuses this one,
// others go on, and it is set aside.
func (w *Worker) insist(stopping, ctx context.Context, f finished, free func()) bool {
	write := w.finishes.Add
	for refused := 0; ; {
		err := write(context.WithoutCancel(ctx), f)
		if err == nil {
			w.written(ctx, f.row, refused)
			return true
		}
		if lighter, ok := f.lighter(err); ok {
			f = lighter
			continue
		}
		w.Log.Warn("what became of a webhook is not written yet, trying again", "webhook", f.row.ID, "provider",
			f.row.Provider, "error", err)
		if !postgres.Unavailable(err) {
			write = w.finishes.Alone
			if refused++; refused == refusals {
				defer w.giveSlot(f.row.Provider, free)()
			}
			if err := w.SetAside.Note(context.WithoutCancel(ctx), setaside.SettleWebhook, unsettled(f.row),
				err); err != nil {
				w.Log.Warn("the refusal could not be noted", "webhook", f.row.ID, "error", err)
			}
		}
		if !w.rest(stopping, f.row, refused) {
			return false
		}
	}
}

// unsettled is a webhook whose outcome is not written.
func unsettled(row *dbsqlc.WebhookClaimRow) setaside.Element {
	e := setaside.Of(row.ID, row.IntegrationID)
	e.About = strings.TrimSpace(row.EventType + " " + row.DeliveryID)
	return e
}

// written forgets the refusals of what is written at last: its own, and those of a worker that had the claim before.
func (w *Worker) written(ctx context.Context, row *dbsqlc.WebhookClaimRow, refused int) {
	if refused == 0 && row.Crashes == 0 {
		return
	}
	if err := w.SetAside.NoteDone(context.WithoutCancel(ctx), setaside.SettleWebhook, unsettled(row)); err != nil {
		w.Log.Warn("it could not be noted that a webhook is settled", "webhook", row.ID, "error", err)
	}
}

// rest waits until what became of a claim is to be written again, and reports whether it is: not once the worker stops.
// The waits are shorter than those of other work that is set aside, for the outcome is in this process alone. What an
// operator has dropped is not written until it is retried.
func (w *Worker) rest(stopping context.Context, row *dbsqlc.WebhookClaimRow, refused int) bool {
	for {
		if !loop.Pause(stopping, patience<<min(max(refused-refusals, 0), 3)) {
			return false
		}
		if refused == 0 {
			return true
		}
		known, err := w.SetAside.Load(stopping, setaside.SettleWebhook)
		if noted := known[row.ID.String()]; err != nil || noted == nil || noted.DroppedAt == nil {
			return true
		}
	}
}

// giveSlot counts a claim whose outcome Postgres refuses, and gives its slot to others unless there are too many of
// those already.
func (w *Worker) giveSlot(provider string, free func()) (settled func()) {
	unwritten := w.Metrics.unwritten.WithLabelValues(provider)
	unwritten.Inc()
	if w.unwritten.Add(1) <= int64(cap(w.slots)) {
		free()
	}
	return func() {
		w.unwritten.Add(-1)
		unwritten.Dec()
	}
}

// resultLost is said of a webhook without the result of its handler.
const resultLost = "what the handler returned could not be kept"

// lighter is what is written of a webhook when Postgres refuses what came of it: at first all but the handler's result,
// then nothing that anybody else has written. Its effect is done, so that it must not be handled again. It returns
// false when the refusal is for no content, or when there is nothing left to leave out.
func (f finished) lighter(cause error) (finished, bool) {
	const textsLost = "what was said of it could not be kept"
	switch {
	case !postgres.RefusesRow(cause) || f.reason == textsLost:
		return f, false
	case f.result != "":
		f.result, f.reason = "", resultLost
	default:
		f.result, f.reason = "", textsLost
		if f.err != nil {
			f.err = errors.New(textsLost)
		}
	}
	return f, true
}
