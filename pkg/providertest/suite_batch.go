package providertest

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// batch checks that a delivery with several records brings all of them. The suite makes it of two deliveries: where these hold a list, and it is the list that says which record
// a delivery is about, the upstream may send several in one list.
func (h hook) batch(t *testing.T, first, second *contracts.WebhookRequest, one, other Item) {
	left, isLeft := parsed(first.Body)
	right, isRight := parsed(second.Body)
	if !isLeft || !isRight {
		return
	}
	walk(left, nil, func(path []any, value any) {
		here, isList := value.([]any)
		there, isOther := at(right, path).([]any)
		if !isList || !isOther || !h.has(t, first, replaced(left, path, there), other) || h.has(t, first, replaced(left, path, there), one) {
			return
		}
		both := replaced(left, path, slices.Concat(here, there))
		for what, item := range map[string]Item{"first": one, "last": other} {
			if !h.has(t, first, both, item) {
				t.Errorf("a delivery with two records in the list %v of its body does not bring the %s one, %s %q: handle all of them",
					path, what, item.Event, item.ExternalID)
			}
		}
	})
}

// has reports whether a delivery with another body brings a record.
func (h hook) has(t *testing.T, delivery *contracts.WebhookRequest, body any, item Item) bool {
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req := cloned(delivery)
	req.Body = raw
	return slices.Contains(h.deliver(t, req, &Session{}, h.upstream()).items, item)
}
