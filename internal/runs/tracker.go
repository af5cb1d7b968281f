package runs

import (
	"sync"
	"sync/atomic"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// Tracker follows the attempts of open runs in the bucket, and says which are complete.
type Tracker struct {
	mu       sync.Mutex
	attempts map[Attempt]*checkpoint.Progress
	complete map[Attempt]struct{}
	// fresh are those that became complete under this process's eyes: none of them has ended a process before.
	fresh map[Attempt]struct{}
	ready chan struct{}
	// live says that all that the bucket held at the start has been seen.
	live atomic.Bool
}

// Attempt names an attempt of a run.
type Attempt struct {
	Run    string
	Number int32
}

// NewestAttempt is the attempt that a run accepts.
func NewestAttempt(run *postgres.Run) Attempt {
	return Attempt{Run: run.ID.String(), Number: run.Attempt}
}

// NewTracker returns a tracker that has seen nothing.
func NewTracker() *Tracker {
	return &Tracker{
		attempts: map[Attempt]*checkpoint.Progress{}, complete: map[Attempt]struct{}{}, fresh: map[Attempt]struct{}{},
		ready: make(chan struct{}, 1),
	}
}

// Apply takes what an entry of the bucket says.
func (t *Tracker) Apply(u checkpoint.Update) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := Attempt{Run: u.Key.Run, Number: u.Key.Attempt}
	progress := t.attempts[key]
	if progress == nil {
		progress = &checkpoint.Progress{}
		t.attempts[key] = progress
	}
	progress.Apply(u)
	if progress.Complete() {
		if _, before := t.complete[key]; !before && t.live.Load() {
			t.fresh[key] = struct{}{}
		}
		t.complete[key] = struct{}{}
		t.Kick()
	}
}

// CaughtUp says that what comes from now on is news.
func (t *Tracker) CaughtUp() { t.live.Store(true) }

// Live reports whether all that the bucket held at the start has been seen.
func (t *Tracker) Live() bool { return t.live.Load() }

// Ready is sent to when an attempt has become complete.
func (t *Tracker) Ready() <-chan struct{} { return t.ready }

// Kick has whoever waits for Ready look at the complete attempts again.
func (t *Tracker) Kick() {
	select {
	case t.ready <- struct{}{}:
	default:
	}
}

// IsFresh reports whether an attempt became complete under this process's eyes, so that it has not ended a process before.
func (t *Tracker) IsFresh(key Attempt) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, fresh := t.fresh[key]
	return fresh
}

// Complete returns the attempts that are complete.
func (t *Tracker) Complete() []Attempt {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([]Attempt, 0, len(t.complete))
	for key := range t.complete {
		keys = append(keys, key)
	}
	return keys
}

// Forget drops an attempt that is closed, and with it the lower attempts of its run.
func (t *Tracker) Forget(key Attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other := range t.attempts {
		if other.Run == key.Run && other.Number <= key.Number {
			delete(t.attempts, other)
			delete(t.complete, other)
			delete(t.fresh, other)
		}
	}
}

// Runs lists the runs that are tracked.
func (t *Tracker) Runs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	runs := make([]string, 0, len(t.attempts))
	for key := range t.attempts {
		runs = append(runs, key.Run)
	}
	return runs
}

// Drop forgets runs whole.
func (t *Tracker) Drop(runs map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.attempts {
		if runs[key.Run] {
			delete(t.attempts, key)
			delete(t.complete, key)
			delete(t.fresh, key)
		}
	}
}

// reached returns the numbers of an attempt as far as this scheduler has seen the bucket, and whether its total is known.
func (t *Tracker) reached(key Attempt) (r reached, total bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	progress, seen := t.attempts[key]
	if !seen {
		return reached{}, false
	}
	return numbersOf(progress), progress.Total() != nil
}

// Progress calls look with what has been seen of a run's newest attempt, which may be nothing.
func (t *Tracker) Progress(run *postgres.Run, look func(*checkpoint.Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	progress := t.attempts[NewestAttempt(run)]
	if progress == nil {
		progress = &checkpoint.Progress{}
	}
	look(progress)
}
