package scheduler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// patient is a way to fail in which nothing is tried again by itself within a test: it has to be retried.
func patient(c *platform.Config) {
	c.SetAside = setaside.Settings{Tries: 2, Waits: []time.Duration{time.Hour}, Step: time.Minute, Forget: 24 * time.Hour}
}

// plant writes a message to the outbox without asking whether the broker would take it.
func (f *fixture) plant(t *testing.T, subject, headers string, body []byte) {
	t.Helper()
	id := postgres.NewID()
	if headers == "" {
		headers = "{}"
	}
	err := f.store.OutboxInsertMany(t.Context(), dbsqlc.OutboxInsertManyParams{
		Now: time.Now(), Ids: []uuid.UUID{id}, Subjects: []string{subject}, MsgIds: []string{id.String()}, Headers: []json.RawMessage{json.RawMessage(headers)}, Bodies: [][]byte{body},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// setAside lists what is set aside, or all that has failed, by what it is about.
func (f *fixture) setAside(t *testing.T, all bool) map[string]api.SetAside {
	t.Helper()
	page, err := f.SetAside(t.Context(), api.ListSetAside{All: all})
	if err != nil {
		t.Fatal(err)
	}
	byAbout := map[string]api.SetAside{}
	for _, a := range page.SetAside {
		byAbout[a.About] = a
	}
	return byAbout
}

// arrived counts the events on a subject.
func (f *fixture) arrived(t *testing.T, subject string) int {
	t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(events.StreamEvents, &nats.StreamInfoRequest{SubjectsFilter: subject})
	if err != nil {
		return 0
	}
	n := 0
	for _, count := range info.State.Subjects {
		n += int(count)
	}
	return n
}

// TestRefusedMessages plants messages that can't be published among a thousand others: the others arrive, and the bad ones are set aside, retried and dropped.
func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	const busy, nowhere, garbled = "tributary.events.run-started.shop.busy", "tributary.nowhere.at.all", "tributary.events.run-started.shop.garbled"
	f.plant(t, busy, "", make([]byte, 3<<20))
	f.plant(t, busy, "", []byte("behind"))
	f.plant(t, nowhere, "", []byte("lost"))
	f.plant(t, garbled, `{"Content-Type": [1, 2]}`, []byte("x"))
	for n := range 1000 {
		f.plant(t, fmt.Sprintf("tributary.events.run-started.shop.n%d", n%7), "", []byte("{}"))
	}
	f.startScheduler(t, map[string]contracts.Provider{"shop": shop{}}, patient)
	await(t, "the other messages", func() bool { return f.arrived(t, "tributary.events.run-started.>") == 1000 })
	failing := f.setAside(t, true)
	if len(failing) != 3 || failing[busy].Status != "failing" || failing[nowhere].Tries != 1 || failing[garbled].NextTryAt == nil {
		t.Fatalf("failing: %+v", failing)
	}
	if n := f.arrived(t, busy); n != 0 {
		t.Errorf("%d messages overtook one on their subject that has tries left", n)
	}
	f.elapse(t)
	await(t, "three to be set aside", func() bool { return len(f.setAside(t, false)) == 3 })
	await(t, "the message behind the one that is set aside", func() bool { return f.arrived(t, busy) == 1 })
	await(t, "the events", func() bool { return f.arrived(t, "tributary.events.work-set-aside.>") == 3 })

	aside := f.setAside(t, false)
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AddStream(&nats.StreamConfig{Name: "ELSEWHERE", Subjects: []string{"tributary.nowhere.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RetrySetAside(t.Context(), api.RetrySetAside{ID: aside[nowhere].ID}); err != nil {
		t.Fatal(err)
	}
	await(t, "the message whose stream is there now", func() bool {
		info, err := js.StreamInfo("ELSEWHERE")
		return err == nil && info.State.Msgs == 1
	})
	for _, about := range []string{busy, garbled} {
		dropped, err := f.DropSetAside(t.Context(), api.DropSetAside{ID: aside[about].ID, By: "ann", Reason: "of no use"})
		if err != nil || dropped.Status != "dropped" || dropped.NextTryAt != nil {
			t.Fatalf("dropped %+v, %v", dropped, err)
		}
	}
	await(t, "an empty outbox", func() bool {
		_, err := f.store.OutboxLag(t.Context())
		return postgres.NotFound(err)
	})
	if left := f.setAside(t, false); len(left) != 0 {
		t.Errorf("still set aside: %v", left)
	}
	await(t, "the events", func() bool { return f.arrived(t, "tributary.events.work-settled.>") == 3 })
	_, err = f.RetrySetAside(t.Context(), api.RetrySetAside{ID: aside[busy].ID})
	wantCode(t, err, api.Refused, "dropped before")
	_, err = f.RetrySetAside(t.Context(), api.RetrySetAside{ID: aside[nowhere].ID})
	wantCode(t, err, api.NotFound, "may have been done")
	_, err = f.DropSetAside(t.Context(), api.DropSetAside{ID: "seven", By: "ann", Reason: "x"})
	wantCode(t, err, api.NotFound, "tributary outbox list")
	_, err = f.SetAside(t.Context(), api.ListSetAside{Kind: "nope"})
	wantCode(t, err, api.Invalid, "close-run")
	_, err = f.RetrySetAside(t.Context(), api.RetrySetAside{All: true, Kind: "nope"})
	wantCode(t, err, api.Invalid, "close-run")
}

// TestTwoRelaysKeepTheOrder has another process hold the first of two messages on a subject, as it does while it
// publishes that: the second waits, and those on other subjects do not.
func TestTwoRelaysKeepTheOrder(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	const ordered, other = "tributary.events.run-started.shop.ordered", "tributary.events.run-started.shop.other"
	f.plant(t, ordered, "", []byte("first"))
	held, err := f.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback(context.Background()) }()
	if _, err := held.Exec(t.Context(), "select 1 from outbox for update"); err != nil {
		t.Fatal(err)
	}
	f.plant(t, ordered, "", []byte("second"))
	f.plant(t, other, "", []byte("{}"))
	f.startScheduler(t, map[string]contracts.Provider{"shop": shop{}}, patient)
	for n := range 3 {
		await(t, "what is on another subject", func() bool { return f.arrived(t, other) == n+1 })
		f.plant(t, other, "", []byte("{}"))
	}
	if n := f.arrived(t, ordered); n != 0 {
		t.Errorf("%d messages have overtaken the first on their subject", n)
	}
	if err := held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "both", func() bool { return f.arrived(t, ordered) == 2 })
	js, err := jetstream.New(f.nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	last, err := stream.GetLastMsgForSubject(t.Context(), ordered)
	if err != nil || string(last.Data) != "second" {
		t.Errorf("the last message is %q, %v", last.Data, err)
	}
}

// elapse lets the next try of everything that fails come.
func (f *fixture) elapse(t *testing.T) {
	t.Helper()
	if _, err := f.pool.Exec(t.Context(), "update set_aside set next_try_at = now() - interval '1 second' where dropped_at is null"); err != nil {
		t.Fatal(err)
	}
}

// TestStreamThatIsAway has one stream be full for good: what is for the others is published.
func TestStreamThatIsAway(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.startScheduler(t, map[string]contracts.Provider{"shop": shop{}}, patient)
	f.awaitProviders(t, []map[string]contracts.Provider{{"shop": shop{}}})
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(wire.StreamSync)
	if err != nil {
		t.Fatal(err)
	}
	full := info.Config
	full.Discard, full.MaxMsgs = nats.DiscardNew, 1
	if _, err := js.UpdateStream(&full); err != nil {
		t.Fatal(err)
	}
	for n := range 300 {
		f.plant(t, fmt.Sprintf("tributary.sync.due.shop.n%d", n), "", []byte("{}"))
	}
	for n := range 20 {
		f.plant(t, fmt.Sprintf("tributary.events.run-started.shop.n%d", n), "", []byte("{}"))
	}
	await(t, "the messages of the other stream", func() bool { return f.arrived(t, "tributary.events.run-started.>") == 20 })
	if failed := f.setAside(t, true); len(failed) != 0 {
		t.Errorf("blamed for a full stream: %v", failed)
	}
	full.MaxMsgs = -1
	if _, err := js.UpdateStream(&full); err != nil {
		t.Fatal(err)
	}
	await(t, "the messages of the stream that was full", func() bool {
		info, err := js.StreamInfo(wire.StreamSync)
		return err == nil && info.State.Msgs == 300
	})
}

// TestPublishRefuses writes a message that the broker would refuse, in a transaction with others.
func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Providers = f.server.Connect(), f.pool, f.ring, shops()
	built, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	good := postgres.Outgoing{Subject: "tributary.events.run-started.shop.x", Body: []byte("{}")}
	for name, bad := range map[string]postgres.Outgoing{
		"body":    {Subject: good.Subject, Body: make([]byte, 2<<20)},
		"headers": {Subject: good.Subject, Header: map[string]string{"X-Large": string(slices.Repeat([]byte("x"), 2<<20))}},
		"subject": {Subject: "tributary.events.run started"},
		"tokens":  {Subject: "tributary..events"},
		"longer":  {Subject: "tributary.events." + string(slices.Repeat([]byte("x"), 2000))},
	} {
		err := built.Store.InTx(t.Context(), func(tx *postgres.Tx) error { return tx.Publish(t.Context(), time.Now(), good, bad) })
		if err == nil {
			t.Errorf("%s: written", name)
		}
	}
	largest := postgres.Outgoing{Subject: good.Subject, ID: "largest", Body: make([]byte, 2<<20-200)}
	err = built.Store.InTx(t.Context(), func(tx *postgres.Tx) error { return tx.Publish(t.Context(), time.Now(), good, largest) })
	if err != nil {
		t.Errorf("the largest message is refused: %v", err)
	}
	run(t, built, platform.SchedulerService)
	await(t, "the largest message and another", func() bool { return f.arrived(t, good.Subject) == 2 })
}
