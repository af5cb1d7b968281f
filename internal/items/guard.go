package items

import (
	"errors"
	"fmt"
	"sync"
)

// ErrEnded is what a call of Dispatch gets that comes after the function which was given the dispatcher has returned.
var ErrEnded = errors.New("dispatched after the function that was given the dispatcher had returned")

// Guard remembers that a call of Dispatch was refused: its item is lost unless the caller fails, and providers may ignore the error. It is safe for concurrent use;
// the zero value is ready.
type Guard struct {
	mu      sync.Mutex
	refused error
	ended   bool
	late    func(error)
}

// Refuse remembers the first refusal, and returns err. A refusal that comes after [Guard.Verdict] goes to its late function.
func (g *Guard) Refuse(err error) error {
	g.mu.Lock()
	first := g.refused == nil
	if first {
		g.refused = err
	}
	late := g.late
	g.mu.Unlock()
	if first && late != nil {
		late(lost(err))
	}
	return err
}

// End says that the function has returned. Items that are dispatched from then on are to be refused.
func (g *Guard) End() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
}

// Ended returns [ErrEnded] once the function has returned.
func (g *Guard) Ended() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return ErrEnded
	}
	return nil
}

// Verdict returns an error if an item was refused. If none was, late is called with the first refusal that comes later, by the goroutine that calls Dispatch.
func (g *Guard) Verdict(late func(error)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused != nil {
		return lost(g.refused)
	}
	g.late = late
	return nil
}

func lost(err error) error {
	return fmt.Errorf("an item was not accepted, and the provider went on without it: %w", err)
}
