package itemworker

import (
	"context"
	"strings"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
)

// refusals is how often Postgres may refuse what became of a claim before others get its slot.
const refusals = 3

// insist writes what became of a claim, and tries that again until it is told to stop: then another worker takes the
// claim when its lease is over. While Postgres is away, the claim keeps its slot. While Postgres refuses this one,
// others go on, and it is set aside.
func (h *webhooks) insist(stopping, ctx context.Context, f finished, free func()) bool {
	write := h.finishes.add
	for refused := 0; ; {
		err := write(context.WithoutCancel(ctx), f)
		if err == nil {
			h.written(ctx, f.row, refused)
			return true
		}
		if lighter, ok := f.lighter(err); ok {
			f = lighter
			continue
		}
		h.Log.Warn("what became of a webhook is not written yet, trying again", "webhook", f.row.ID, "provider", f.row.Provider, "error", err)
		if !postgres.Unavailable(err) {
			write = h.finishes.alone
			if refused++; refused == refusals {
				defer h.giveSlot(f.row.Provider, free)()
			}
			if err := h.SetAside.Note(context.WithoutCancel(ctx), setaside.SettleWebhook, unsettled(f.row), err); err != nil {
				h.Log.Warn("the refusal could not be noted", "webhook", f.row.ID, "error", err)
			}
		}
		if !h.rest(stopping, f.row, refused) {
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
func (h *webhooks) written(ctx context.Context, row *dbsqlc.WebhookClaimRow, refused int) {
	if refused == 0 && row.Crashes == 0 {
		return
	}
	if err := h.SetAside.NoteDone(context.WithoutCancel(ctx), setaside.SettleWebhook, unsettled(row)); err != nil {
		h.Log.Warn("it could not be noted that a webhook is settled", "webhook", row.ID, "error", err)
	}
}

// rest waits until what became of a claim is to be written again, and reports whether it is: not once the worker stops.
// The waits are shorter than those of other work that is set aside, for the outcome is in this process alone. What an
// operator has dropped is not written until it is retried.
func (h *webhooks) rest(stopping context.Context, row *dbsqlc.WebhookClaimRow, refused int) bool {
	for {
		if !pause(stopping, patience<<min(max(refused-refusals, 0), 3)) {
			return false
		}
		if refused == 0 {
			return true
		}
		known, err := h.SetAside.Load(stopping, setaside.SettleWebhook)
		if noted := known[row.ID.String()]; err != nil || noted == nil || noted.DroppedAt == nil {
			return true
		}
	}
}

// giveSlot counts a claim whose outcome Postgres refuses, and gives its slot to others unless there are too many of
// those already.
func (h *webhooks) giveSlot(provider string, free func()) (settled func()) {
	unwritten := h.Metrics.unwritten.WithLabelValues(provider)
	unwritten.Inc()
	if h.unwritten.Add(1) <= int64(cap(h.slots)) {
		free()
	}
	return func() {
		h.unwritten.Add(-1)
		unwritten.Dec()
	}
}
