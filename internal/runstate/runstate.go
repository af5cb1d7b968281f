// Package runstate has the words that a row of sync_runs is stored with. The generated queries, the services, the API
// and the command line use these types, so that the compiler finds a word that does not exist. What leads from one
// state to another is in package runs.
package runstate

// State is where a run stands.
type State string

// A run is open in the first four states and closed in the last four.
const (
	// Due means that a syncer is asked to enumerate the run.
	Due State = "due"
	// Enumerating means that a syncer calls the provider.
	Enumerating State = "enumerating"
	// Waiting means that the next enumeration has to wait, until a time or until the integration is resumed.
	Waiting State = "waiting"
	// Working means that every item is enumerated, and that some may have no outcome yet.
	Working State = "working"

	// Succeeded means that no item is dead.
	Succeeded State = "succeeded"
	// Partial means that some items are dead.
	Partial State = "partial"
	// Failed means that the enumeration or the reducer failed, or that every item is dead.
	Failed State = "failed"
	// Cancelled means that an operator ended the run.
	Cancelled State = "cancelled"
)

// All returns the states in the order in which a run can pass through them.
func All() []State {
	return []State{Due, Enumerating, Waiting, Working, Succeeded, Partial, Failed, Cancelled}
}

// Mode is what a run asks the provider for.
type Mode string

// The modes of runs.
const (
	// Full asks for every record.
	Full Mode = "full"
	// Incremental asks for what has changed since the cursor.
	Incremental Mode = "incremental"
)

// Cause is why a run was opened.
type Cause string

// The causes of runs.
const (
	// Scheduled means that the integration's interval had passed.
	Scheduled Cause = "schedule"
	// Commanded means that an operator or an application asked for it.
	Commanded Cause = "command"
)

// Resolution is how a closed run ceased to wait for its dead items. It is empty while the run waits.
type Resolution string

// The resolutions of runs.
const (
	// Resolved means that no dead item is left.
	Resolved Resolution = "resolved"
	// Superseded means that a later run brought the same records again.
	Superseded Resolution = "superseded"
)
