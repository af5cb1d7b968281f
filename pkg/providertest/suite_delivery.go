package providertest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// deliveries checks that a webhook brings the same items as the sync: whichever comes first, the other must find its record.
func (h hook) deliveries(t *testing.T, provider contracts.ScheduledSync) {
	all := h.full(t, provider).Items()
	if len(all) < 2 {
		t.Skip("the fixture's upstream has fewer than two records")
	}
	one, other := all[0], all[len(all)-1]
	if at := slices.IndexFunc(all[1:], func(item Item) bool { return item.Event == one.Event }); at >= 0 {
		other = all[1+at]
	}
	h.webhooks(t, func(t testing.TB) *contracts.WebhookRequest { return h.Delivery(t, one) })
	delivery := h.Delivery(t, one)
	h.account(t, delivery, true)
	got := h.good(t, delivery)
	if !h.brings(t, got, one, all) {
		return
	}
	second := h.Delivery(t, other)
	h.apart(t, delivery, second)
	if len(got.items) == 1 {
		h.inOrder(t, delivery, second)
	}
	h.batch(t, delivery, second, one, other)
	if h.Edit != nil {
		h.edited(t, provider, one, delivery)
	}
}

// brings checks that a delivery about a record dispatches it as the sync does. A delivery may bring other records too.
func (h hook) brings(t *testing.T, got handled, one Item, all []Item) bool {
	if len(got.items) == 0 {
		t.Errorf("a delivery about %s %q dispatches nothing", one.Event, one.ExternalID)
		return false
	}
	isOf := func(record Item) func(Item) bool {
		return func(item Item) bool { return item.Event == record.Event && item.ExternalID == record.ExternalID }
	}
	if !slices.ContainsFunc(got.items, isOf(one)) {
		t.Errorf("a delivery about %s %q dispatches %s %q: the sync's record and the webhook's are two",
			one.Event, one.ExternalID, got.items[0].Event, got.items[0].ExternalID)
		return false
	}
	for _, item := range got.items {
		at := slices.IndexFunc(all, isOf(item))
		if at < 0 {
			continue
		}
		if record := all[at]; item.Checkpoint != record.Checkpoint {
			t.Errorf("a delivery about %s %q dispatches the checkpoint %s, the sync %s: neither knows which version is newer",
				item.Event, item.ExternalID, orNone(item.Checkpoint), orNone(record.Checkpoint))
		} else if d := differs(item, record); d != "" {
			t.Errorf("a delivery about %s %q dispatches another content than the sync (%s): whichever comes last stays, and both call it the same version",
				item.Event, item.ExternalID, d)
		}
	}
	return true
}

var errRefused = errors.New("the suite takes nothing at the moment")

// again has a delivery handled whose item is refused, and then once more, as the platform does: then it brings what it brought before.
func (h hook) again(t *testing.T, delivery *contracts.WebhookRequest, want []Item) {
	refused := h.deliver(t, delivery, &Session{OnDispatch: func(Item) error { return errRefused }}, h.upstream())
	if lost := refused.lost(); lost != "" {
		t.Errorf("Dispatch fails, and the delivery is %s: its record is lost. Return the error", lost)
	} else if contracts.IsPermanent(refused.err) {
		t.Errorf("Dispatch fails, and the delivery ends for good (%v): return the error as it is", refused.err)
	}
	if d := difference(want, h.good(t, delivery).items); d != "" {
		t.Errorf("a delivery that is tried again brings other items: %s; does the provider keep state?", d)
	}
}

// together has a delivery handled several times at once: state that the provider keeps shows as a data race where the test looks for these.
func (h hook) together(t *testing.T, delivery *contracts.WebhookRequest, want []Item) {
	const many = 4
	call := h.handlerFor(delivery)
	sessions, errs := make([]*Session, many), make([]error, many)
	var group sync.WaitGroup
	for i := range many {
		in, req := h.integration(t, h.upstream()), cloned(delivery)
		sessions[i] = &Session{}
		group.Go(func() {
			errs[i] = attempt("the handler of the delivery", func() error {
				_, err := call(contracts.WithDispatcher(h.context(t), sessions[i]), in, req)
				return errors.Join(err, h.VerifyWebhookSignature(h.context(t), in, req))
			}).err
		})
	}
	_ = h.guarded(t, "a handler beside others", func() error { group.Wait(); return nil })
	for i := range many {
		if d := difference(want, sessions[i].Items()); errs[i] != nil || d != "" {
			t.Errorf("of %d handlers side by side, one differs from a handler alone: %s (%v); does the provider keep state?", many, orNone(d), errs[i])
			return
		}
	}
}

// edited checks that a delivery about a newer version of a record brings this one, and is told apart from the one before.
func (h hook) edited(t *testing.T, provider contracts.ScheduledSync, one Item, before *contracts.WebhookRequest) {
	h.Edit(t, one)
	all := h.full(t, provider).Items()
	at := slices.IndexFunc(all, func(item Item) bool { return item.Event == one.Event && item.ExternalID == one.ExternalID })
	if at < 0 || all[at] == one {
		return // the fixture's edit leaves nothing to tell apart
	}
	newer := all[at]
	after := h.Delivery(t, newer)
	got := h.good(t, after)
	if slices.Contains(got.items, one) {
		t.Errorf("a delivery about %s %q, which was edited, brings it as it was before: does the provider keep state?", one.Event, one.ExternalID)
	} else {
		h.brings(t, got, newer, all)
	}
	first, hasFirst := h.WebhookDeliveryID(before)
	second, hasSecond := h.WebhookDeliveryID(after)
	if hasFirst && hasSecond && first == second {
		t.Errorf("two deliveries about two versions of %s %q have the same id %q: the second is dropped as a copy. "+
			"Take the id of the delivery, not that of the record; if it is the fixture that repeats it, give each of its deliveries one", one.Event, one.ExternalID, first)
	}
	if orderer, ok := h.WebhookHandler.(contracts.WebhookOrderer); ok && len(got.items) == 1 {
		first, hasFirst := orderer.WebhookOrderingKey(before)
		second, hasSecond := orderer.WebhookOrderingKey(after)
		if hasFirst != hasSecond || first != second {
			t.Errorf("two deliveries about %s %q have the ordering keys %q and %q: they may be handled in any order. Take what names the record",
				one.Event, one.ExternalID, first, second)
		}
	}
}

// apart checks that deliveries about two records are told apart.
func (h hook) apart(t *testing.T, one, other *contracts.WebhookRequest) {
	first, hasFirst := h.WebhookDeliveryID(one)
	second, hasSecond := h.WebhookDeliveryID(other)
	if hasFirst && hasSecond && first == second {
		t.Errorf("two deliveries about different records have the same id %q: the second is dropped as a copy", first)
	}
}

// inOrder checks the key by which deliveries about a record come one after the other: each of these is about one record.
func (h hook) inOrder(t *testing.T, one, other *contracts.WebhookRequest) {
	orderer, ok := h.WebhookHandler.(contracts.WebhookOrderer)
	if !ok {
		return
	}
	key, hasKey := orderer.WebhookOrderingKey(one)
	if hasKey && key == "" {
		t.Error("the ordering key is empty, so that all deliveries without one wait for each other: return false where there is none")
	}
	if same, _ := orderer.WebhookOrderingKey(one); same != key {
		t.Errorf("the same delivery has the ordering key %q and then %q", key, same)
	}
	if otherKey, hasOther := orderer.WebhookOrderingKey(other); hasKey && hasOther && key == otherKey {
		t.Errorf("deliveries about different records have the same ordering key %q: one that fails holds up all", key)
	}
}
