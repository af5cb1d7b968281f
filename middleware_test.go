package tributary_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestItemMiddleware puts two around the handlers of an event. The first is the outermost, each is called once for both
// handlers, what the second passes on is what they get, and errors come back the same way.
func TestItemMiddleware(t *testing.T) {
	t.Parallel()
	var seen []string
	refused := errors.New("refused")
	opts := []tributary.Option{
		tributary.AroundItems(
			func(ctx context.Context, in *contracts.Integration, item tributary.Item, next tributary.ItemFunc) error {
				seen = append(seen, "outer "+item.EventType)
				err := next(ctx, in, item)
				if errors.Is(err, refused) {
					seen = append(seen, "outer sees the error")
				}
				return err
			},
			func(ctx context.Context, in *contracts.Integration, item tributary.Item, next tributary.ItemFunc) error {
				seen = append(seen, "inner "+string(item.Payload))
				if string(item.Payload) == "{}" {
					return contracts.Skip("empty")
				}
				item.Payload = json.RawMessage(`{"weight":4}`)
				return next(ctx, in, item)
			},
		),
		tributary.OnItem(func(_ context.Context, _ *contracts.Integration, p parcel) error {
			if p.Weight == 4 {
				seen = append(seen, "first handler")
			}
			return nil
		}),
		tributary.OnRawItem("tributary_test.parcel", func(_ context.Context, _ *contracts.Integration,
			payload json.RawMessage,
		) error {
			seen = append(seen, "second handler "+string(payload))
			return refused
		}),
	}
	if err := tributary.Handle(t.Context(), "tributary_test.parcel", []byte(`{"weight":3}`), opts...); !errors.Is(err,
		refused) {
		t.Errorf("the error is %v, want the handler's", err)
	}
	want := []string{
		"outer tributary_test.parcel", `inner {"weight":3}`, "first handler",
		`second handler {"weight":4}`, "outer sees the error",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("called were %q, want %q", seen, want)
	}
	seen = nil
	err := tributary.Handle(t.Context(), "tributary_test.parcel", []byte(`{}`), opts...)
	if _, skipped := contracts.AsSkip(err); !skipped || len(seen) != 2 {
		t.Errorf("the middleware skips the item: %v, and called were %q", err, seen)
	}
}

// TestWebhookMiddleware puts two around the handler of a webhook, by two options: the first is the outermost.
func TestWebhookMiddleware(t *testing.T) {
	t.Parallel()
	var seen []string
	named := func(name string) tributary.Option {
		return tributary.AroundWebhooks(func(ctx context.Context, in *contracts.Integration,
			req *contracts.WebhookRequest, next contracts.WebhookFunc,
		) (any, error) {
			seen = append(seen, name+" before")
			result, err := next(ctx, in, req)
			seen = append(seen, name+" after")
			return result, err
		})
	}
	handler := func(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
		seen = append(seen, "handler")
		return "result", nil
	}
	result, err := tributary.AroundWebhook(handler, named("outer"), named("inner"))(t.Context(), nil, nil)
	if result != "result" || err != nil {
		t.Errorf("the result is %v, %v", result, err)
	}
	if want := []string{"outer before", "inner before", "handler", "inner after", "outer after"}; !slices.Equal(seen,
		want) {
		t.Errorf("called were %q, want %q", seen, want)
	}
}
