package share_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/tributaryhq/tributary/internal/share"
)

// One greedy key has half, two have a third each, and the next one always finds room.
func TestShareLeavesRoomForTheNext(t *testing.T) {
	t.Parallel()
	const units = 1200
	for greedy := 1; greedy <= 5; greedy++ {
		shared := share.New[string](units)
		held := make([]int, greedy)
		for range units {
			for i := range held {
				if shared.Take(fmt.Sprint(i), 1) {
					held[i]++
				}
			}
		}
		for i, n := range held {
			if want := units / (greedy + 1); n < want-1 || n > want+1 {
				t.Errorf("%d greedy keys: key %d holds %d, want about %d", greedy, i, n, want)
			}
		}
		if !shared.Take("next", int64(units/(2*(greedy+1)))) {
			t.Errorf("%d greedy keys leave no room", greedy)
		}
	}
}

func TestShareCountsAndGivesBack(t *testing.T) {
	t.Parallel()
	shared := share.New[string](10)
	if shared.Take("one", 6) || !shared.Take("one", 5) || shared.Take("one", 1) {
		t.Error("one key has more or less than half")
	}
	if !shared.Take("", 5) || shared.Take("", 1) {
		t.Error("the zero key can't have all that is free, or more")
	}
	shared.Give("", 5)
	shared.Give("one", 5)
	if free := shared.Free(); free != 10 {
		t.Errorf("%d are free in the end", free)
	}
}

// The last unit is for a key that has none.
func TestShareOfTheLast(t *testing.T) {
	t.Parallel()
	shared := share.New[string](1)
	if !shared.Take("one", 1) || shared.Take("two", 1) {
		t.Error("one unit is for one key")
	}
}

// Those that wait have their turn as soon as there is room for them, or none when they leave.
func TestShareWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := share.New[string](4)
		if !shared.Wait(t.Context(), "one", 2) || !shared.Wait(t.Context(), "two", 1) {
			t.Fatal("nobody has to wait")
		}
		ctx, leave := context.WithCancel(t.Context())
		had := make(chan bool, 2)
		go func() { had <- shared.Wait(ctx, "one", 1) }()
		synctest.Wait()
		leave()
		if <-had {
			t.Error("a key that left had its turn, beyond its share")
		}
		go func() { had <- shared.Wait(t.Context(), "two", 1) }()
		synctest.Wait()
		select {
		case <-had:
			t.Fatal("a key has more than what is left free")
		default:
		}
		shared.Give("one", 2)
		if !<-had {
			t.Error("there is room, and nobody has it")
		}
		if free := shared.Free(); free != 2 {
			t.Errorf("%d are free in the end", free)
		}
	})
}
