package webhookingress

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tributaryhq/tributary/internal/httpserver"
)

func numbered(n byte) httpserver.Client {
	return httpserver.ClientOf(netip.AddrFrom4([4]byte{192, 0, 2, n}))
}

// A client with many requests in line delays its own: the next turn after the one that is given is another client's.
func TestTurnsGoAround(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		if !turns.take(t.Context(), numbered(1)) {
			t.Fatal("the first has no turn")
		}
		var order []byte
		for _, client := range []byte{1, 1, 1, 2, 2, 3} {
			go func() {
				turns.take(t.Context(), numbered(client))
				order = append(order, client)
			}()
			synctest.Wait()
		}
		for range 6 {
			turns.give()
			synctest.Wait()
		}
		if want := []byte{1, 2, 3, 1, 2, 1}; !slices.Equal(order, want) {
			t.Errorf("turns go to %v, want %v", order, want)
		}
		turns.give()
		if turns.free != 1 || len(turns.lines) != 0 || len(turns.round) != 0 {
			t.Errorf("left: %d free, %d lines, round %v", turns.free, len(turns.lines), turns.round)
		}
	})
}

// A request that gives up leaves its line, and takes no turn along.
func TestTurnsLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		turns.take(t.Context(), numbered(1))
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan bool, 2)
		go func() { got <- turns.take(ctx, numbered(2)) }()
		synctest.Wait()
		go func() { got <- turns.take(t.Context(), numbered(3)) }()
		synctest.Wait()
		cancel()
		if <-got {
			t.Error("it has a turn after it gave up")
		}
		turns.give()
		if !<-got {
			t.Error("the one behind it has no turn")
		}
		turns.give()
		if turns.free != 1 || len(turns.round) != 0 {
			t.Errorf("left: %d free, round %v", turns.free, turns.round)
		}
	})
}
