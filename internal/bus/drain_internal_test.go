package bus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestDrainEnds takes what still comes of a watch, and ends when the client closes it, or forgets to.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	for name, closes := range map[string]bool{"closed": true, "forgotten": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				updates := make(chan jetstream.KeyValueEntry)
				began, ended := time.Now(), make(chan struct{})
				go func() {
					drain(updates)
					close(ended)
				}()
				for range 3 {
					<-time.After(drainFor - time.Second)
					updates <- nil
				}
				if closes {
					close(updates)
				}
				<-ended
				want := 3 * (drainFor - time.Second)
				if !closes {
					want += drainFor
				}
				if took := time.Since(began); took != want {
					t.Errorf("it took %s, want %s", took, want)
				}
			})
		})
	}
}
