package api

import (
	"encoding/json"
	"time"

	"github.com/tributaryhq/tributary/internal/runstate"
)

// Run is one sync of one integration.
type Run struct {
	ID string `json:"id"`
	// Integration is the integration's name.
	Integration   string `json:"integration"`
	IntegrationID string `json:"integration_id"`
	Provider      string `json:"provider"`
	// Mode is full or incremental, Cause schedule or command.
	Mode  runstate.Mode  `json:"mode"`
	Cause runstate.Cause `json:"cause"`
	// State is due, enumerating, waiting or working while the run is open, and then succeeded, partial, failed or
	// cancelled.
	State runstate.State `json:"state"`
	// Attempt is counted from 1.
	Attempt int32 `json:"attempt"`
	// Items, Done, Dead, Skipped and Duplicates are final once the run is closed; before, Progress has the numbers. A cancelled run keeps those it had.
	Items      int64 `json:"items"`
	Done       int64 `json:"done"`
	Dead       int64 `json:"dead"`
	Skipped    int64 `json:"skipped"`
	Duplicates int64 `json:"duplicates"`
	// SkipReasons are the reasons of skipped items, the most frequent first. Lists leave them out.
	SkipReasons []SkipReason `json:"skip_reasons,omitempty"`
	// Error is why the run failed or waits.
	Error        string     `json:"error,omitempty"`
	WaitingUntil *time.Time `json:"waiting_until"`
	// FollowUp is the mode of the sync that starts when this run closes, if one was asked for.
	FollowUp  runstate.Mode `json:"follow_up,omitempty"`
	CreatedAt time.Time     `json:"created_at"`
	ClosedAt  *time.Time    `json:"closed_at"`
	// Resolution says, of a run that closed with dead items, whether they were resolved or superseded by a later run.
	Resolution runstate.Resolution `json:"resolution,omitempty"`
	ResolvedAt *time.Time          `json:"resolved_at"`
	// Progress is how far an open run has come.
	Progress *Progress `json:"progress,omitempty"`
	// Waiting are up to a hundred items of an open run that wait for another try, those that are due first. Lists leave
	// them out.
	Waiting []WaitingItem `json:"waiting,omitempty"`
}

// WaitingItem is an item that waits for another try.
type WaitingItem struct {
	// Batch and Index are the item's place in its run.
	Batch int32 `json:"batch"`
	Index int32 `json:"index"`
	// EventType, ExternalID, Error and Until are missing where an item-worker of an older release has had the item.
	EventType  string `json:"event_type,omitempty"`
	ExternalID string `json:"external_id,omitempty"`
	// Error is that of the last try, or what the item waits for. It is cut to 200 bytes.
	Error string `json:"error,omitempty"`
	// Tries is how many have failed.
	Tries int32 `json:"tries"`
	// Until is when the next try is due. It comes earlier when what the item waits for ends, and is past while the item
	// is being tried.
	Until *time.Time `json:"until,omitempty"`
}

// Open reports whether the run goes on.
func (r Run) Open() bool { return r.ClosedAt == nil }

// SkipReason is why items were skipped, as their handler or the operator said, and how many. Long reasons are cut, and
// "other" stands for all after the first twenty. Items that were skipped without a reason are in none.
type SkipReason struct {
	Reason string `json:"reason"`
	Items  int64  `json:"items"`
}

// Progress is how far an attempt has come, item by item.
type Progress struct {
	// Finished is the sum of Done, Skipped and Dead.
	Finished int64 `json:"finished"`
	Done     int64 `json:"done"`
	Skipped  int64 `json:"skipped"`
	Dead     int64 `json:"dead"`
	// Retrying items wait for another try.
	Retrying int64 `json:"retrying"`
	// Total is null until the enumeration is complete.
	Total *int64 `json:"total"`
}

// ListRuns asks for a page of runs, newest first.
type ListRuns struct {
	// Integration is an id or a name; empty means all.
	Integration string `json:"integration,omitempty"`
	// Open leaves closed runs out.
	Open bool `json:"open,omitempty"`
	// Before is the Next of the page before.
	Before string `json:"before,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
}

// RunPage is a page of runs.
type RunPage struct {
	Runs []Run `json:"runs"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}

// DeadItem is an item that could not be processed.
type DeadItem struct {
	ID string `json:"id"`
	// Integration is the integration's name.
	Integration   string `json:"integration"`
	IntegrationID string `json:"integration_id"`
	Provider      string `json:"provider"`
	RunID         string `json:"run_id"`
	// Attempt, Batch and Index are the item's place in its run. Attempts only grow, and leave numbers out.
	Attempt    int32  `json:"attempt"`
	Batch      int32  `json:"batch"`
	Index      int32  `json:"index"`
	EventType  string `json:"event_type"`
	ExternalID string `json:"external_id"`
	Reason     string `json:"reason"`
	Error      string `json:"error"`
	Tries      int32  `json:"tries"`
	// Status is open, redriving, resolved, skipped or superseded.
	Status     string    `json:"status"`
	ResolvedBy string    `json:"resolved_by,omitempty"`
	Note       string    `json:"note,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	// Details are left out of lists.
	Details *DeadItemDetails `json:"details,omitempty"`
}

// DeadItemDetails are the parts of a dead item that may be large.
type DeadItemDetails struct {
	Checkpoint json.RawMessage `json:"checkpoint"`
	// Payload is the event as JSON; null when it is not JSON or too large for a reply.
	Payload json.RawMessage `json:"payload"`
	// PayloadBytes is how large the stored payload is.
	PayloadBytes int `json:"payload_bytes"`
}

// ListDeadItems asks for a page of dead items, newest first.
type ListDeadItems struct {
	// Integration is an id or a name; empty means all.
	Integration string `json:"integration,omitempty"`
	// All includes those that are resolved, skipped or superseded.
	All bool `json:"all,omitempty"`
	// Before is the Next of the page before.
	Before string `json:"before,omitempty"`
	// Limit is at most [MaxPage]; 0 means [DefaultPage].
	Limit int `json:"limit,omitempty"`
}

// DeadItemPage is a page of dead items without details.
type DeadItemPage struct {
	Items []DeadItem `json:"items"`
	// Next is empty on the last page.
	Next string `json:"next,omitempty"`
}
