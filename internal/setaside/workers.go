package setaside

import (
	"errors"
	"sync"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/share"
)

// Workers run steps of sweeps side by side, so that a step that takes long holds up few others. Each step is counted to
// a share, such as its provider. A share has at most as many workers as it leaves free: there is one for the next
// share, however many steps of others hang. A process works on an element once at a time.
type Workers struct {
	free *share.Share[string]
	// running counts the goroutines that work.
	running sync.WaitGroup

	mu sync.Mutex
	// waiting are the tasks that have no worker yet, by share, in the order in which they came.
	waiting map[string][]task
	// known is what waits or is in work.
	known map[job]struct{}
	// problems are errors that no call of [Run] has returned yet.
	problems map[Kind][]error
}

// job names a step. Elements of several kinds may have the same key.
type job struct {
	kind Kind
	key  string
}

type task struct {
	job
	share string
	do    func() error
}

// NewWorkers returns so many workers.
func NewWorkers(n int) *Workers {
	return &Workers{free: share.New[string](int64(n)), waiting: map[string][]task{}, known: map[job]struct{}{}, problems: map[Kind][]error{}}
}

// Wait waits until the steps that were begun have ended. After the end of their context, none begins.
func (w *Workers) Wait() { w.running.Wait() }

// Has reports whether an element has a worker or waits for one.
func (w *Workers) Has(kind Kind, key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, has := w.known[job{kind, key}]
	return has
}

// add runs a task once its share has a worker for it. What is known is left out.
func (w *Workers) add(t task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, has := w.known[t.job]; has {
		return
	}
	w.known[t.job] = struct{}{}
	w.waiting[t.share] = append(w.waiting[t.share], t)
	w.start()
}

// start has workers begin what they may.
func (w *Workers) start() {
	for name, tasks := range w.waiting {
		for len(tasks) > 0 && w.free.Take(name, 1) {
			t := tasks[0]
			tasks = tasks[1:]
			w.running.Go(func() { w.work(t) })
		}
		if w.waiting[name] = tasks; len(tasks) == 0 {
			delete(w.waiting, name)
		}
	}
}

func (w *Workers) work(t task) {
	err := panics.Try(string(t.kind), t.do)
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(err, errAway) {
		w.drop()
	}
	if err != nil {
		w.problems[t.kind] = append(w.problems[t.kind], err)
	}
	delete(w.known, t.job)
	w.free.Give(t.share, 1)
	w.start()
}

// drop forgets what waits: the next sweep lists it again.
func (w *Workers) drop() {
	for _, tasks := range w.waiting {
		for _, t := range tasks {
			delete(w.known, t.job)
		}
	}
	clear(w.waiting)
}

// count returns how many elements of a kind have a worker or wait for one.
func (w *Workers) count(kind Kind) (n int) {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for j := range w.known {
		if j.kind == kind {
			n++
		}
	}
	return n
}

func (w *Workers) takeProblems(kind Kind) []error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	problems := w.problems[kind]
	delete(w.problems, kind)
	return problems
}
