package bus_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
)

// TestConsumeTakesNothingWhileItStops has messages come to the pull that is open when a service is told to stop: another service gets them.
func TestConsumeTakesNothingWhileItStops(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b := newBus(t, natstest.New(t).Connect(), bus.Options{})
		publish(t, b, 1)
		var handled []string
		consume(t, b, bus.Consumption{Slots: 8, Grace: time.Minute}, func(stop func(), d *bus.Delivery) error {
			handled = append(handled, string(d.Body))
			if len(handled) == 1 {
				// By now the pull for the other slots is open.
				<-time.After(100 * time.Millisecond)
				stop()
				for _, body := range []string{"late", "later"} {
					if err := b.Publish(context.Background(), message(body, body)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		diff(t, []string{"0"}, handled)
		synctest.Wait()
		if left := waiting(t, b); left != 2 {
			t.Fatalf("%d messages are left, want 2", left)
		}
		var next []string
		consume(t, b, bus.Consumption{Slots: 1}, func(stop func(), d *bus.Delivery) error {
			if next = append(next, string(d.Body)); len(next) == 2 {
				stop()
			}
			return nil
		})
		slices.Sort(next)
		diff(t, []string{"late", "later"}, next)
	})
}
