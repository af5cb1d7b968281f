package natstest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// given are the ports that this process has given out: each once, as one that is free now may be about to be taken.
//
//nolint:gochecknoglobals // the tests of a process have no other place to share it
var given sync.Map

// FreePort finds a port of 127.0.0.1 for a server that another process runs, or that is stopped and started again. It
// is below those that the system gives to whoever asks for any port, so that nobody takes it meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, count = 20000, 10000
	for range 1000 {
		port := first + rand.IntN(count)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no free port found")
	return 0
}
