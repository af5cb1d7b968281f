package commands

import (
	"sync"

	"github.com/tributaryhq/tributary/internal/bus"
)

// maxTurns bounds the commands of one integration that a process holds in memory.
const maxTurns = 64

// turns lets a process carry out the commands of an integration one after the other. Each command locks the
// integration. Side by side they would wait for each other, and hold the slots that commands of other integrations
// need.
type turns struct {
	mu  sync.Mutex
	all map[string]*turn
}

type turn struct {
	// busy holds one value while a command is being carried out.
	busy chan struct{}
	// users counts the commands that have the turn or wait for it.
	users int
}

// acquire waits for the turn of an integration, without holding a slot. The error hands the command back.
func (t *turns) acquire(d *bus.Delivery, integration string) (release func(), err error) {
	one := t.enter(integration)
	if one == nil {
		return nil, bus.Again(connectRetry, "too many commands wait for the integration")
	}
	select {
	case one.busy <- struct{}{}:
		return func() { <-one.busy; t.leave(integration, one) }, nil
	default:
	}
	comeBack := d.StepAside()
	defer comeBack()
	select {
	case one.busy <- struct{}{}:
		return func() { <-one.busy; t.leave(integration, one) }, nil
	case <-d.Stopping:
		t.leave(integration, one)
		return nil, bus.Again(0, "the service stops")
	}
}

// enter returns nil if too many commands wait already.
func (t *turns) enter(integration string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.all[integration]
	if one == nil {
		one = &turn{busy: make(chan struct{}, 1)}
		t.all[integration] = one
	}
	if one.users == maxTurns {
		return nil
	}
	one.users++
	return one
}

func (t *turns) leave(integration string, one *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(t.all, integration)
	}
}
