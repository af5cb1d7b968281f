package httpserver_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tributaryhq/tributary/internal/httpserver"
)

func client(t *testing.T, address string) httpserver.Client {
	t.Helper()
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	return httpserver.ClientOf(parsed)
}

// One greedy client has half, two have a third each, and the next one always finds room.
func TestShareLeavesRoomForTheNext(t *testing.T) {
	t.Parallel()
	const units = 1200
	for greedy := 1; greedy <= 5; greedy++ {
		share := httpserver.NewShare(units)
		held := make([]int, greedy)
		for range units {
			for i := range held {
				if share.Take(client(t, fmt.Sprintf("192.0.2.%d", i+1)), 1) {
					held[i]++
				}
			}
		}
		for i, n := range held {
			if want := units / (greedy + 1); n < want-1 || n > want+1 {
				t.Errorf("%d greedy clients: client %d holds %d, want about %d", greedy, i, n, want)
			}
		}
		if !share.Take(client(t, "198.51.100.1"), int64(units/(2*(greedy+1)))) {
			t.Errorf("%d greedy clients leave no room", greedy)
		}
	}
}

func TestShareCountsAndGivesBack(t *testing.T) {
	t.Parallel()
	share := httpserver.NewShare(10)
	one, all := client(t, "192.0.2.1"), httpserver.Client{}
	if share.Take(one, 6) || !share.Take(one, 5) || share.Take(one, 1) {
		t.Error("one client has more or less than half")
	}
	if !share.Take(all, 5) || share.Take(all, 1) {
		t.Error("a trusted proxy can't have all that is free, or more")
	}
	share.Give(all, 5)
	share.Give(one, 5)
	if free := share.Free(); free != 10 {
		t.Errorf("%d are free in the end", free)
	}
	if !share.Take(client(t, "2001:db8::1"), 4) || share.Take(client(t, "2001:db8::2:1"), 2) {
		t.Error("two addresses of one IPv6 network do not count together")
	}
	if !share.Take(client(t, "2001:db8:0:1::1"), 3) {
		t.Error("another IPv6 network counts along")
	}
	if client(t, "::ffff:192.0.2.1") != one {
		t.Error("an IPv4 address in IPv6 is another client")
	}
}

// The last unit is for a client that has none.
func TestShareOfTheLast(t *testing.T) {
	t.Parallel()
	share := httpserver.NewShare(1)
	if !share.Take(client(t, "192.0.2.1"), 1) || share.Take(client(t, "192.0.2.2"), 1) {
		t.Error("one unit is for one client")
	}
}
