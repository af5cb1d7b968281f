package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
)

func clock() time.Time { return now }

// What tests of handlers are given behaves as the database does.
func TestMappings(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	for name, m := range map[string]contracts.Mappings{
		"postgres": store.Mappings(insertIntegration(t, store, "one"), clock), "memory": providertest.NewMappings(),
	} {
		t.Run(name, func(t *testing.T) { testMappings(t, m) })
	}
	// The other integration and the other kind know nothing of it.
	other := store.Mappings(insertIntegration(t, store, "other"), clock)
	if err := other.Claim(t.Context(), "contact", "e1", "else"); err != nil {
		t.Error(err)
	}
}

func testMappings(t *testing.T, m contracts.Mappings) {
	t.Helper()
	ctx := t.Context()
	wantClaimed := func(err error, by, requested string) {
		t.Helper()
		claimed, ok := errors.AsType[*contracts.MappingClaimedError](err)
		if !ok {
			t.Fatalf("it came to %v", err)
		}
		if diff := cmp.Diff(&contracts.MappingClaimedError{Kind: "contact", External: "e1", ClaimedBy: by, RequestedBy: requested}, claimed); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ensure := func(proposed, want string, wantNew bool) {
		t.Helper()
		got, isNew, err := m.Ensure(ctx, "contact", "e1", proposed)
		if err != nil || got != want || isNew != wantNew {
			t.Errorf("e1 is %q (new: %t), %v; want %q (new: %t)", got, isNew, err, want, wantNew)
		}
	}
	ensure("i1", "i1", true)
	ensure("i2", "i1", false)
	ok(m.Claim(ctx, "contact", "e1", "i1"))
	wantClaimed(m.Claim(ctx, "contact", "e1", "i2"), "i1", "i2")
	ok(m.Claim(ctx, "invoice", "e1", "i2"))
	ok(m.Claim(ctx, "contact", "e0", "i1"))
	wantClaimed(m.Remap(ctx, "contact", "e1", "i7", "i2"), "i1", "i2")
	ok(m.Remap(ctx, "contact", "e1", "i1", "i2"))
	ok(m.Remap(ctx, "contact", "e1", "i1", "i2")) // seen twice
	ok(m.Remap(ctx, "contact", "e9", "i8", "i9")) // from nowhere
	resolved, err := m.Resolve(ctx, "contact", "e0", "e1", "e2", "e9")
	ok(err)
	if diff := cmp.Diff(map[string]string{"e0": "i1", "e1": "i2", "e9": "i9"}, resolved); diff != "" {
		t.Errorf("resolved (-want +got):\n%s", diff)
	}
	ok(m.Claim(ctx, "contact", "e3", "i2"))
	found, err := m.Find(ctx, "contact", "i1", "i2", "i3")
	ok(err)
	if diff := cmp.Diff(map[string][]string{"i1": {"e0"}, "i2": {"e1", "e3"}}, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	ok(m.Release(ctx, "contact", "e1", "i7"))
	ensure("i5", "i2", false)
	ok(m.Release(ctx, "contact", "e1", "i2"))
	ensure("i5", "i5", true)
	for _, none := range []func() (int, error){
		func() (int, error) { got, err := m.Resolve(ctx, "contact"); return len(got), err },
		func() (int, error) { got, err := m.Find(ctx, "contact"); return len(got), err },
	} {
		if n, err := none(); n != 0 || err != nil {
			t.Errorf("nothing came to %d, %v", n, err)
		}
	}
	if _, _, err := m.Ensure(ctx, "contact", "", "i"); !errors.Is(err, contracts.ErrInvalidMapping) {
		t.Errorf("an empty id came to %v", err)
	}
}

func TestMappingsThatCanNotBeStored(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	m := store.Mappings(insertIntegration(t, store, "one"), clock)
	for name, id := range map[string]string{"empty": "", "zero byte": "a\x00b", "no UTF-8": "\xff", "too long": strings.Repeat("é", 501)} {
		_, err := m.Resolve(t.Context(), "contact", id)
		for what, err := range map[string]error{
			"claim": m.Claim(t.Context(), "contact", id, "i"), "kind": m.Claim(t.Context(), id, "e", "i"), "remap": m.Remap(t.Context(), "contact", "e", "i", id),
			"release": m.Release(t.Context(), "contact", "e", id), "resolve": err,
		} {
			if !errors.Is(err, contracts.ErrInvalidMapping) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	if err := m.Claim(t.Context(), "contact", strings.Repeat("é", 500), "i"); err != nil {
		t.Error(err)
	}
}

// Of workers that map the same record at once one makes the mapping, and all agree on it.
func TestMappingsAtOnce(t *testing.T) {
	t.Parallel()
	store := postgres.New(pgtest.DB(t), nil)
	m := store.Mappings(insertIntegration(t, store, "one"), clock)
	for round := range 20 {
		external := fmt.Sprint("e", round)
		var made atomic.Int64
		var internals sync.Map
		var all sync.WaitGroup
		for worker := range 16 {
			all.Go(func() {
				internal, isNew, err := m.Ensure(t.Context(), "contact", external, fmt.Sprint("i", worker))
				if err != nil {
					t.Error(err)
				}
				internals.Store(internal, true)
				if isNew {
					made.Add(1)
				}
			})
		}
		all.Wait()
		different := 0
		internals.Range(func(any, any) bool { different++; return true })
		if made.Load() != 1 || different != 1 {
			t.Fatalf("round %d: made %d times, as %d ids", round, made.Load(), different)
		}
		// Of those that move it from the same place one wins; the others are told who did.
		resolved, err := m.Resolve(t.Context(), "contact", external)
		if err != nil {
			t.Fatal(err)
		}
		var moved atomic.Int64
		for worker := range 16 {
			all.Go(func() {
				err := m.Remap(t.Context(), "contact", external, resolved[external], fmt.Sprint("j", worker))
				if err == nil {
					moved.Add(1)
				} else if _, ok := errors.AsType[*contracts.MappingClaimedError](err); !ok {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if moved.Load() != 1 {
			t.Fatalf("round %d: moved %d times", round, moved.Load())
		}
	}
}
