package acme_test

import (
	"fmt"
	"testing"

	"example.com/acme"

	"github.com/tributaryhq/tributary/pkg/providertest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for n := range 25 {
		s.put(fmt.Sprint("order-", n), 100)
	}
	providertest.Run(t, providertest.Suite{
		Provider: acme.Provider{}, Key: "acme",
		Credentials: acme.Credentials{Key: key}, Metadata: acme.Metadata{URL: s.URL},
		Records: func(testing.TB) []string { return s.ids() },
		Edit:    func(_ testing.TB, item providertest.Item) { s.put(item.ExternalID, 300) },
		Change: func(testing.TB) string {
			s.put("order-3", 250)
			return "order-3"
		},
	})
}

func TestOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for n := range 25 {
		s.put(fmt.Sprint("order-", n), 100)
	}
	in := providertest.Integration(t, acme.Provider{}, acme.Credentials{Key: key}, acme.Metadata{URL: s.URL}, nil)
	first := &providertest.Session{}
	if err := (acme.Provider{}).SyncIncremental(t.Context(), in, first); err != nil {
		t.Fatal(err)
	}
	if got := len(first.Items()); got != 25 {
		t.Errorf("the first sync has %d orders, want 25", got)
	}
	cursor, err := acme.Provider{}.ReduceCheckpoints(first.Checkpoints())
	if err != nil || string(cursor) != "25" {
		t.Fatalf("the cursor is %s (%v), want 25", cursor, err)
	}
	s.put("order-3", 250)
	second := &providertest.Session{From: cursor}
	if err := (acme.Provider{}).SyncIncremental(t.Context(), in, second); err != nil {
		t.Fatal(err)
	}
	want := providertest.Item{Event: "acme.Order", ExternalID: "order-3", Checkpoint: "26", Payload: `{"id":"order-3","cents":250,"revision":26}`}
	if got := second.Items(); len(got) != 1 || got[0] != want {
		t.Errorf("after a change the sync has %v, want %v", got, want)
	}
}
