package providertest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// patience is how long a sync may take to notice that it was cancelled. It is far longer than any should need, and only ends a test that would hang.
const patience = 5 * time.Second

// sync checks that the same state enumerates to the same items, and that the reducer agrees with itself about them.
func (k *kit) sync(t *testing.T, provider contracts.ScheduledSync) {
	first := k.full(t, provider)
	if d := difference(first.Items(), k.full(t, provider).Items()); d != "" {
		t.Errorf("two syncs of the same upstream differ: %s", d)
	}
	if len(first.Items()) == 0 {
		t.Error("the fixture's upstream has no records to enumerate")
	}
	cursor := reduce(t, provider, first.Checkpoints())
	if len(cursor) == 0 {
		return
	}
	again := reduce(t, provider, []contracts.Checkpoint{contracts.Checkpoint(cursor)})
	if forward, err := contracts.Advances(provider, cursor, again); err != nil || forward || len(again) == 0 {
		t.Errorf("the cursor %s reduced alone is %s: it should stay where it is (%v)", cursor, again, err)
	}
	if _, ok := provider.(contracts.AssociativeReducer); ok {
		k.associative(t, provider, first.Checkpoints(), cursor)
	}
	orderer, ok := provider.(contracts.CheckpointOrderer)
	for _, item := range first.Items() {
		if !ok {
			break
		}
		if _, err := orderer.CheckpointKey(contracts.Checkpoint(item.Checkpoint)); err != nil {
			t.Errorf("CheckpointKey of item %s: %v", item.ExternalID, err)
			break
		}
	}
}

// associative checks that neither order nor grouping of the checkpoints changes the cursor.
func (k *kit) associative(t *testing.T, provider contracts.ScheduledSync, checkpoints []contracts.Checkpoint, want contracts.Cursor) {
	backwards := slices.Clone(checkpoints)
	slices.Reverse(backwards)
	if got := reduce(t, provider, backwards); !bytes.Equal(got, want) {
		t.Errorf("the reducer says it is associative, but in reverse order the cursor is %s, not %s", got, want)
	}
	for _, at := range []int{1, len(checkpoints) / 3, len(checkpoints) - 1} {
		if at <= 0 || at >= len(checkpoints) {
			continue
		}
		left, right := reduce(t, provider, checkpoints[:at]), reduce(t, provider, checkpoints[at:])
		if got := reduce(t, provider, []contracts.Checkpoint{contracts.Checkpoint(right), contracts.Checkpoint(left)}); !bytes.Equal(got, want) {
			t.Errorf("the reducer says it is associative, but in two parts the cursor is %s, not %s", got, want)
		}
	}
}

// incremental checks that after a full sync only the overlap comes again, and that a change comes through.
func (k *kit) incremental(t *testing.T, provider contracts.IncrementalSync) {
	full := k.full(t, provider)
	cursor := reduce(t, provider, full.Checkpoints())
	if len(cursor) == 0 {
		t.Skip("the checkpoints of the fixture reduce to no cursor")
	}
	if d := difference(full.Items(), k.since(t, provider, nil).Items()); d != "" {
		t.Errorf("without a cursor, SyncIncremental differs from Sync: %s", d)
	}
	overlap := k.since(t, provider, cursor).Items()
	for _, item := range overlap {
		if !slices.Contains(full.Items(), item) {
			t.Errorf("nothing changed, but item %s %q of an incremental sync is not as it was", item.Event, item.ExternalID)
		}
	}
	const few = 10
	if n := len(full.Items()); n >= few && len(overlap) >= n {
		t.Errorf("nothing changed, but an incremental sync enumerates all %d items again", n)
	}
	if k.Change == nil {
		return
	}
	id := k.Change(t)
	changed := k.since(t, provider, cursor)
	if !slices.ContainsFunc(changed.Items(), func(i Item) bool { return i.ExternalID == id && !slices.Contains(overlap, i) }) {
		t.Errorf("record %q was changed, but an incremental sync does not have it as it is now", id)
	}
	next := reduce(t, provider, changed.Checkpoints())
	if forward, err := contracts.Advances(provider, cursor, next); err != nil || !forward {
		t.Errorf("after a change the cursor goes from %s to %s, which is not forward (%v)", cursor, next, err)
	}
}

// failures checks what a sync makes of an upstream that fails.
func (k *kit) failures(t *testing.T, provider contracts.ScheduledSync) {
	const wait = 17 * time.Second
	for name, transport := range map[string]http.RoundTripper{
		"500":             answering(http.StatusInternalServerError, nil),
		"401":             answering(http.StatusUnauthorized, nil),
		"refused":         transportFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }),
		"malformed":       answering(http.StatusOK, strings.NewReader(`[{"`)),
		"not what it was": answering(http.StatusOK, strings.NewReader(`<html>welcome to the hotel's network</html>`)),
		"cut body":        answering(http.StatusOK, io.MultiReader(strings.NewReader(`[{"id":`), failing{})),
	} {
		session := &Session{}
		err := provider.Sync(t.Context(), k.integration(t, transport), session)
		if err == nil {
			t.Errorf("%s: the sync ends as if it were complete", name)
		}
		if len(session.Items()) > 0 {
			t.Errorf("%s: %d items were dispatched", name, len(session.Items()))
		}
		k.checkError(t, err)
	}
	limited := answering(http.StatusTooManyRequests, nil)
	limited.header = http.Header{"Retry-After": {strconv.Itoa(int(wait.Seconds()))}}
	err := provider.Sync(t.Context(), k.integration(t, limited), &Session{})
	if deferral, ok := contracts.AsDeferral(err); !ok || deferral.Delay != wait {
		t.Errorf("429 with a Retry-After of %s: the sync returns %v, want a deferral of that time", wait, err)
	}
	k.checkError(t, err)
}

// cancellation checks that a sync ends when its context does: while it waits for the upstream, and between two items.
func (k *kit) cancellation(t *testing.T, provider contracts.ScheduledSync) {
	hanging := transportFunc(func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{}, 1)
	k.cancelled(t, "while the upstream hangs", cancel, func() error {
		return provider.Sync(ctx, k.integration(t, transportFunc(func(req *http.Request) (*http.Response, error) {
			select {
			case asked <- struct{}{}:
			default:
			}
			return hanging(req)
		})), &Session{})
	}, asked)

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	dispatched := 0
	session := &Session{OnDispatch: func(Item) error {
		dispatched++
		cancel()
		return ctx.Err()
	}}
	if err := provider.Sync(ctx, k.integration(t, nil), session); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled at the first item: the sync returns %v, want what Dispatch returned", err)
	}
	if dispatched > 1 {
		t.Errorf("cancelled at the first item: %d more were dispatched", dispatched-1)
	}
}

func (k *kit) cancelled(t *testing.T, when string, cancel context.CancelFunc, sync func() error, asked <-chan struct{}) {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- sync() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-asked:
	case <-timer.C:
		t.Errorf("%s: the sync asks the upstream nothing", when)
	}
	cancel()
	select {
	case err := <-result:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the sync returns %v, want the context's error", when, err)
		}
		k.checkError(t, err)
	case <-timer.C:
		t.Errorf("%s: the sync does not notice that its context is done", when)
	}
}

func (k *kit) full(t *testing.T, provider contracts.ScheduledSync) *Session {
	t.Helper()
	session := &Session{}
	if err := provider.Sync(t.Context(), k.integration(t, nil), session); err != nil {
		t.Fatalf("Sync: %v", err)
	}
	return session
}

func (k *kit) since(t *testing.T, provider contracts.IncrementalSync, cursor contracts.Cursor) *Session {
	t.Helper()
	session := &Session{From: cursor}
	if err := provider.SyncIncremental(t.Context(), k.integration(t, nil), session); err != nil {
		t.Fatalf("SyncIncremental: %v", err)
	}
	return session
}

func reduce(t *testing.T, provider contracts.ScheduledSync, checkpoints []contracts.Checkpoint) contracts.Cursor {
	t.Helper()
	cursor, err := provider.ReduceCheckpoints(checkpoints)
	if err != nil {
		t.Fatalf("ReduceCheckpoints: %v", err)
	}
	return cursor
}

// difference says how two enumerations differ, whatever their order; empty when they don't.
func difference(a, b []Item) string {
	a, b = slices.SortedFunc(slices.Values(a), compareItems), slices.SortedFunc(slices.Values(b), compareItems)
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i].Event + " " + strconv.Quote(a[i].ExternalID) + " against " + b[i].Event + " " + strconv.Quote(b[i].ExternalID)
		}
	}
	if len(a) != len(b) {
		return strconv.Itoa(len(a)) + " items against " + strconv.Itoa(len(b))
	}
	return ""
}

func compareItems(a, b Item) int {
	return cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.ExternalID, b.ExternalID), cmp.Compare(a.Checkpoint, b.Checkpoint), cmp.Compare(a.Payload, b.Payload))
}

// transportFunc is a transport of one function.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answerer answers every request alike.
type answerer struct {
	status int
	header http.Header
	body   io.Reader
}

func answering(status int, body io.Reader) *answerer {
	if body == nil {
		body = strings.NewReader(`{"message":"` + http.StatusText(status) + `"}`)
	}
	return &answerer{status: status, body: body}
}

func (a *answerer) RoundTrip(req *http.Request) (*http.Response, error) {
	header := a.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json")
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(a.body), ContentLength: -1, Request: req,
	}, nil
}

// failing is a body that breaks off.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
