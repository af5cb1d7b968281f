package setaside

// Kind is what kind of work an element is.
type Kind string

// The kinds.
const (
	// Message is a message of the outbox. Its key is the id of its row.
	Message Kind = "message"

	// OpenRun opens a run for an integration that is due.
	OpenRun Kind = "open-run"
	// WakeRun starts the next attempt of a run whose waiting is over.
	WakeRun Kind = "wake-run"
	// CloseRun closes an open run, or drives it again when no syncer does.
	CloseRun Kind = "close-run"
	// ResolveRun reduces a closed run whose last dead item was resolved.
	ResolveRun Kind = "resolve-run"
	// FreeEntries removes the bucket entries of a closed run.
	FreeEntries Kind = "free-entries"
	// Directory writes an integration's entry for services without a database.
	Directory Kind = "write-directory"
	// PurgeDeleted removes what is left of a deleted integration.
	PurgeDeleted Kind = "purge-deleted"
	// MarkStale reports an integration without a clean sync for long.
	MarkStale Kind = "mark-stale"
	// MarkSilent reports an integration without a webhook for long.
	MarkSilent Kind = "mark-silent"
	// EndOverride ends an override of a budget or a circuit whose time is over.
	EndOverride Kind = "end-override"
	// JudgeRate reports an integration of whose requests too large a share fails, or does no longer.
	JudgeRate Kind = "judge-rate"
	// EndWait wakes what waits for a cause that has ended. Its key is the integration and the cause.
	EndWait Kind = "end-wait"
	// AdoptToken makes a grant of an integration's credentials, once they were written by somebody else than a
	// refresher.
	AdoptToken Kind = "adopt-token"
	// HoldStray stops an active integration that has no grant.
	HoldStray Kind = "hold-stray"
	// Reduce calls the reducer of an integration's runs, which has ended the process before. Its key is the id of the
	// integration. One that is dropped, or set aside, is not called: the runs close without it.
	Reduce Kind = "reduce"
	// SettleWebhook writes what a webhook's handler came to. Its key is the id of the webhook.
	SettleWebhook Kind = "settle-webhook"
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{
		Message, OpenRun, WakeRun, CloseRun, ResolveRun, FreeEntries, Directory, PurgeDeleted,
		MarkStale, MarkSilent, EndOverride, JudgeRate, EndWait, AdoptToken, HoldStray, Reduce, SettleWebhook,
	}
}
