package scheduler_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestHandlers lists handlers page by page, and forgets one that no worker announces any more.
func TestHandlers(t *testing.T) {
	t.Parallel()
	f := start(t, map[string]contracts.Provider{"shop": shop{}})
	f.exec(t, `insert into handled_types select p, k, e, now() - interval '24 hours', now() - interval '4 minutes'
		from unnest('{mall,shop}'::text[]) p, unnest('{item,webhook}'::text[]) k, unnest('{order,parcel}'::text[]) e`)
	f.exec(t, "update handled_types set seen_at = now() - interval '2 minutes' where event_type = 'parcel'")

	var got []string
	list := api.ListHandlers{Limit: 3}
	for more := true; more; more = list.After != nil {
		page, err := f.Handlers(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range page.Handlers {
			got = append(got, fmt.Sprint(h.Provider, " ", h.Kind, " ", h.EventType, " ", h.SeenAt.Sub(h.Since).Round(1e9)))
		}
		list.After = page.Next
	}
	want := []string{
		"mall item order 23h56m0s", "mall item parcel 23h58m0s", "mall webhook order 23h56m0s", "mall webhook parcel 23h58m0s",
		"shop item order 23h56m0s", "shop item parcel 23h58m0s", "shop webhook order 23h56m0s", "shop webhook parcel 23h58m0s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("all: %s", diff)
	}
	if page, err := f.Handlers(t.Context(), api.ListHandlers{Provider: "mall"}); err != nil || len(page.Handlers) != 4 {
		t.Errorf("one provider has %d, %v", len(page.Handlers), err)
	}

	for name, test := range map[string]struct {
		forget api.ForgetHandler
		code   api.Code
	}{
		"announced":       {api.ForgetHandler{Provider: "shop", EventType: "parcel", By: "ann"}, api.Refused},
		"unknown":         {api.ForgetHandler{Provider: "shop", EventType: "letter", By: "ann"}, api.NotFound},
		"by nobody":       {api.ForgetHandler{Provider: "shop", EventType: "order"}, api.Invalid},
		"of no such kind": {api.ForgetHandler{Provider: "shop", EventType: "order", Kind: "other", By: "ann"}, api.Invalid},
	} {
		_, err := f.ForgetHandler(t.Context(), test.forget)
		if refused, ok := errors.AsType[*api.Error](err); !ok || refused.Code != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
	for _, forget := range []api.ForgetHandler{
		{Provider: "shop", EventType: "order", By: "ann"}, {Provider: "mall", Kind: api.WebhookHandler, EventType: "order", By: "ann"},
	} {
		if gone, err := f.ForgetHandler(t.Context(), forget); err != nil || gone.EventType != "order" || gone.Provider != forget.Provider {
			t.Errorf("forgotten: %+v, %v", gone, err)
		}
	}
	page, err := f.Handlers(t.Context(), api.ListHandlers{})
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]int{}
	for _, h := range page.Handlers {
		left[h.Provider+" "+h.Kind]++
	}
	if diff := cmp.Diff(map[string]int{"mall item": 2, "mall webhook": 1, "shop item": 1, "shop webhook": 2}, left); diff != "" {
		t.Errorf("left: %s", diff)
	}
}
