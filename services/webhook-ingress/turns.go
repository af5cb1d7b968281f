package webhookingress

import (
	"context"
	"slices"
	"sync"

	"github.com/tributaryhq/tributary/internal/httpserver"
)

// turns lets so many requests at a time through. Those that wait are let through in rounds, one of each client a round, so that a client with
// many requests delays its own.
type turns struct {
	mu   sync.Mutex
	free int
	// lines has the waiting requests of each client, and round the clients that have any, the next one first.
	lines map[httpserver.Client][]chan struct{}
	round []httpserver.Client
}

func newTurns(atATime int) *turns {
	return &turns{free: atATime, lines: map[httpserver.Client][]chan struct{}{}}
}

// take waits for a turn until ctx ends, and reports whether there was one.
func (t *turns) take(ctx context.Context, client httpserver.Client) bool {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	line, waits := t.lines[client]
	if !waits {
		t.round = append(t.round, client)
	}
	t.lines[client] = append(line, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
		return t.leave(client, turn)
	}
}

// leave takes a request out of its line. It reports whether the request was given its turn meanwhile.
func (t *turns) leave(client httpserver.Client, turn chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := slices.Index(t.lines[client], turn)
	if at < 0 {
		return true
	}
	t.lines[client] = slices.Delete(t.lines[client], at, at+1)
	if len(t.lines[client]) == 0 {
		delete(t.lines, client)
		t.round = slices.DeleteFunc(t.round, func(other httpserver.Client) bool { return other == client })
	}
	return false
}

// give ends a turn: the next client in the round has it.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.round) == 0 {
		t.free++
		return
	}
	client := t.round[0]
	t.round = t.round[1:]
	line := t.lines[client]
	close(line[0])
	if line = line[1:]; len(line) > 0 {
		t.lines[client] = line
		t.round = append(t.round, client)
		return
	}
	delete(t.lines, client)
}
