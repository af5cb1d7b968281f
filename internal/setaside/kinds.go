package setaside

// Kind is what kind of work an element is.
type Kind string

// The kinds.
const (
	// Message is a message of the outbox. Its key is the id of its row.
	Message Kind = "message"

	// CloseRun closes an open run, or drives it again when nobody does.
	CloseRun Kind = "close-run"
	// ResolveRun reduces a closed run whose last dead item was resolved.
	ResolveRun Kind = "resolve-run"
	// FreeEntries removes the bucket entries of a closed run.
	FreeEntries Kind = "free-entries"
	// OpenRun opens the run of an integration that is due.
	OpenRun Kind = "open-run"
	// WakeRun starts the next attempt of a waiting run.
	WakeRun Kind = "wake-run"
	// MarkStale reports an integration without a clean sync.
	MarkStale Kind = "mark-stale"
	// MarkSilent reports an integration without webhooks.
	MarkSilent Kind = "mark-silent"
	// EndOverride takes away an override whose time is over.
	EndOverride Kind = "end-override"
	// Directory writes an integration's entry for services without a database.
	Directory Kind = "write-directory"
	// Prune deletes what is old from one table.
	Prune Kind = "prune"

	// Circuit notes a transition of a circuit.
	Circuit Kind = "note-circuit"
	// Probe asks an upstream whether it is well.
	Probe Kind = "probe"
	// JudgeRate reports the failure rate of an integration.
	JudgeRate Kind = "judge-rate"
	// CloseIncident closes a forgotten incident.
	CloseIncident Kind = "close-incident"

	// AdoptCredentials reads the tokens of credentials that were changed.
	AdoptCredentials Kind = "adopt-credentials"
	// HoldIntegration stops an integration that has no grant.
	HoldIntegration Kind = "hold-integration"
	// RevokeGrant ends the grant of a deleted integration.
	RevokeGrant Kind = "revoke-grant"

	// SettleWebhook writes what came of a webhook.
	SettleWebhook Kind = "settle-webhook"
)
