package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

func TestReadKeys(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	bucket, err := b.Bucket(t.Context(), wire.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for i := range 200 {
		key := fmt.Sprintf("run.1.%d", i)
		for _, value := range []string{"old", fmt.Sprint(i)} {
			if _, err := bucket.PutString(t.Context(), key, value); err != nil {
				t.Fatal(err)
			}
		}
		want[key] = fmt.Sprint(i)
	}
	for _, other := range []string{"run.10.0", "run1.1.0", "run.2"} {
		if _, err := bucket.PutString(t.Context(), other, "other"); err != nil {
			t.Fatal(err)
		}
	}
	if err := bucket.Delete(t.Context(), "run.1.7"); err != nil {
		t.Fatal(err)
	}
	delete(want, "run.1.7")
	got := map[string]string{}
	var deleted []string
	// Half-way, a key that was told and one that was not are written again: each is told as it was or as it is.
	err = b.ReadKeys(t.Context(), wire.BucketCheckpoints, "run.1.>", func(v bus.Value) {
		if v.Data == nil {
			deleted = append(deleted, v.Key)
			return
		}
		got[v.Key] = string(v.Data)
		if age := time.Since(v.Stored); age < -time.Minute || age > time.Minute {
			t.Errorf("%s was stored %s ago", v.Key, age)
		}
		if v.Key != "run.1.50" {
			return
		}
		for _, again := range []string{"run.1.3", "run.1.150"} {
			if _, err := bucket.PutString(t.Context(), again, "again"); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{"run.1.3", "run.1.150"} {
		if got[again] != want[again] && got[again] != "again" {
			t.Errorf("%s is told as %q", again, got[again])
		}
		got[again] = want[again]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"run.1.7"}, deleted); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.ReadKeys(ended, wire.BucketCheckpoints, "run.1.>", func(bus.Value) {}); !errors.Is(err,
		context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
