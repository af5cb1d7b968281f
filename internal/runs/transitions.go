// Package runs is the life of a run, from its opening to its end: the states that it passes through, what decides how
// it ends, and the transactions that write it. The scheduler and the syncer use it.
package runs

import (
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/events"
)

// Transition is one way in which a run gets from one state to another. It is one transaction.
type Transition struct {
	Name string
	// When says what happens.
	When string
	// Query is the one of db/queries that writes the state. It changes no run whose state is not in From, nor one that
	// has a newer attempt than its caller knows.
	Query string
	// From and To are the states before and after. A run that is opened comes from none.
	From, To []runstate.State
	// Service is the process that makes the transition.
	Service string
	// Writes are the other tables that the transaction writes. Events and messages go to the outbox.
	Writes []string
	// Events tell applications of the transition. Some depend on how the run ended.
	Events []events.Name
}

// Transitions returns all transitions. No query writes a state that is not in them.
func Transitions() []Transition {
	open := []runstate.State{runstate.Due, runstate.Enumerating, runstate.Waiting, runstate.Working}
	return []Transition{{
		Name:  "open",
		When:  "the interval has passed, a command asks for a sync, or a run closes that a sync waited for",
		Query: "RunInsertMany",
		To:    []runstate.State{runstate.Due}, Service: "scheduler", Writes: []string{"integrations"},
		Events: []events.Name{events.RunStarted},
	}, {
		Name: "begin", When: "a syncer takes the due message, or takes over from a syncer that is gone",
		Query: "RunStartAttempt",
		From:  []runstate.State{runstate.Due, runstate.Enumerating}, To: []runstate.State{runstate.Enumerating},
		Service: "syncer",
		Writes:  []string{"dead_items"},
	}, {
		Name:  "wait",
		When:  "the enumeration failed and is tried again later, was deferred, or its integration is paused",
		Query: "RunWait",
		From:  []runstate.State{runstate.Due, runstate.Enumerating}, To: []runstate.State{runstate.Waiting},
		Service: "syncer",
		Events:  []events.Name{events.RunWaiting},
	}, {
		Name: "enumerated", When: "the total is in the bucket", Query: "RunWorking",
		From: []runstate.State{runstate.Due, runstate.Enumerating}, To: []runstate.State{runstate.Working},
		Service: "syncer",
	}, {
		Name: "wake", When: "the wait is over, or the run lost its syncer, its messages or its receipts",
		Query: "RunWake",
		From:  open, To: []runstate.State{runstate.Due}, Service: "scheduler", Writes: []string{"incidents"},
	}, {
		Name: "close", When: "every item of the newest attempt has its outcome", Query: "RunClose",
		From: open, To: []runstate.State{runstate.Succeeded, runstate.Partial, runstate.Failed}, Service: "scheduler",
		Writes: []string{
			"integrations", "dead_items", "run_checkpoints", "receipts", "item_streaks", "incidents",
			"operations",
		},
		Events: []events.Name{
			events.RunCompleted, events.RunPartial, events.RunFailed, events.CursorMoved,
			events.SyncRecovered, events.ItemStuck,
		},
	}, {
		Name: "cancel", When: "an operator cancels the run, or deletes its integration", Query: "RunClose",
		From: open, To: []runstate.State{runstate.Cancelled}, Service: "scheduler",
		Writes: []string{"integrations", "dead_items", "receipts", "operations"},
		Events: []events.Name{events.RunFailed},
	}, {
		Name: "lose an item", When: "the provider dispatched an item after its enumeration had ended as complete",
		Query: "RunLost",
		From:  []runstate.State{runstate.Succeeded, runstate.Partial}, To: []runstate.State{runstate.Failed},
		Service: "syncer",
		Writes:  []string{"incidents"},
	}}
}
