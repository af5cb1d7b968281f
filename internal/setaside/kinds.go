package setaside

// Kind is what kind of work an element is.
type Kind string

// The kinds.
const (
	// Message is a message of the outbox. Its key is the id of its row.
	Message Kind = "message"

	// CloseRun closes an open run, or drives it again when no syncer does.
	CloseRun Kind = "close-run"
	// ResolveRun reduces a closed run whose last dead item was resolved.
	ResolveRun Kind = "resolve-run"
	// FreeEntries removes the bucket entries of a closed run.
	FreeEntries Kind = "free-entries"
	// Directory writes an integration's entry for services without a database.
	Directory Kind = "write-directory"
)
