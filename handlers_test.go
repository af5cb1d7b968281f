package tributary_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

type parcel struct {
	Weight int `json:"weight"`
}

func TestHandlersGetTheItem(t *testing.T) {
	t.Parallel()
	var seen []any
	typed := tributary.OnItem(func(_ context.Context, _ *contracts.Integration, p parcel) error {
		seen = append(seen, p)
		return nil
	})
	raw := tributary.OnRawItem("tributary_test.parcel", func(_ context.Context, _ *contracts.Integration,
		item json.RawMessage,
	) error {
		seen = append(seen, string(item))
		return nil
	})
	other := tributary.OnRawItem("tributary_test.other", func(context.Context, *contracts.Integration,
		json.RawMessage,
	) error {
		return errors.New("not for this one")
	})
	if err := tributary.Handle(t.Context(), "tributary_test.parcel", []byte(`{"weight":3}`), raw,
		typed, other); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{`{"weight":3}`, parcel{Weight: 3}}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := tributary.Handle(t.Context(), "tributary_test.parcel", []byte(`[]`), typed); !contracts.IsPermanent(err) {
		t.Errorf("an item that can't be decoded gives %v, want a permanent error", err)
	}
}
