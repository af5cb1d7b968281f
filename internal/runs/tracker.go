package runs

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// Tracker follows the attempts of open runs in the bucket, and says which are complete.
type Tracker struct {
	mu sync.Mutex
	// runs have their attempts by number. A run is forgotten without a look at the others.
	runs map[string]map[int32]*tracked
	// complete are the attempts that are complete.
	complete map[Attempt]struct{}
	ready    chan struct{}
	// live says that all that the bucket held at the start has been seen.
	live atomic.Bool
}

// tracked is what has been seen of an attempt.
type tracked struct {
	progress checkpoint.Progress
	// fresh says that it became complete under this process's eyes.
	fresh bool
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
		runs: map[string]map[int32]*tracked{}, complete: map[Attempt]struct{}{},
		ready: make(chan struct{}, 1),
	}
}

// Apply takes what an entry of the bucket says.
func (t *Tracker) Apply(u checkpoint.Update) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := Attempt{Run: u.Key.Run, Number: u.Key.Attempt}
	attempts := t.runs[key.Run]
	if attempts == nil {
		attempts = map[int32]*tracked{}
		t.runs[key.Run] = attempts
	}
	attempt := attempts[key.Number]
	if attempt == nil {
		attempt = &tracked{}
		attempts[key.Number] = attempt
	}
	attempt.progress.Apply(u)
	if attempt.progress.Complete() {
		if _, before := t.complete[key]; !before {
			attempt.fresh = t.live.Load()
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

// Kick has the receiver of Ready look at the complete attempts again.
func (t *Tracker) Kick() { loop.Kick(t.ready) }

// IsFresh reports whether an attempt became complete under this process's eyes, so that it has not ended a process
// before.
func (t *Tracker) IsFresh(key Attempt) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	attempt := t.runs[key.Run][key.Number]
	return attempt != nil && attempt.fresh
}

// Complete returns the attempts that are complete.
func (t *Tracker) Complete() []Attempt {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.complete))
}

// Forget drops an attempt that is closed, and with it the lower attempts of its run.
func (t *Tracker) Forget(key Attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(key.Run, func(number int32) bool { return number <= key.Number })
}

func (t *Tracker) forget(run string, which func(number int32) bool) {
	for number := range t.runs[run] {
		if which(number) {
			delete(t.runs[run], number)
			delete(t.complete, Attempt{run, number})
		}
	}
	if len(t.runs[run]) == 0 {
		delete(t.runs, run)
	}
}

// Runs lists the runs that are tracked.
func (t *Tracker) Runs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.runs))
}

// Drop forgets runs whole.
func (t *Tracker) Drop(runs map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for run := range runs {
		t.forget(run, func(int32) bool { return true })
	}
}

// reached returns the numbers of an attempt as far as this scheduler has seen the bucket, and whether its total is
// known.
func (t *Tracker) reached(key Attempt) (r reached, total bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	attempt := t.runs[key.Run][key.Number]
	if attempt == nil {
		return reached{}, false
	}
	return numbersOf(&attempt.progress), attempt.progress.Total() != nil
}

// Progress calls look with what has been seen of a run's newest attempt, which may be nothing.
func (t *Tracker) Progress(run *postgres.Run, look func(*checkpoint.Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	attempt := t.runs[run.ID.String()][run.Attempt]
	if attempt == nil {
		attempt = &tracked{}
	}
	look(&attempt.progress)
}
