package api_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
)

const patience = time.Minute

// serve answers an endpoint for two providers: at once for "quick", and for "hung" when the test ends.
func serve(t *testing.T) (nc *nats.Conn, entered *atomic.Int64) {
	t.Helper()
	nc, entered = natstest.New(t).Connect(), &atomic.Int64{}
	ctx, stop := context.WithCancel(t.Context())
	hung := func(context.Context, micro.Request) ([]byte, error) {
		entered.Add(1)
		<-ctx.Done()
		return []byte("{}"), ctx.Err()
	}
	quick := func(context.Context, micro.Request) ([]byte, error) { return []byte("{}"), nil }
	server := api.Server{Conn: nc, Log: slog.New(slog.DiscardHandler), Grace: patience, Explain: func(_ api.Endpoint, err error) *api.Error {
		return &api.Error{Code: api.CodeOf(err), Message: err.Error()}
	}}
	ended := make(chan error, 1)
	go func() {
		ended <- server.Serve(ctx, "test", []api.Route{
			{Endpoint: api.HealthTest, Provider: "hung", Answer: hung}, {Endpoint: api.HealthTest, Provider: "quick", Answer: quick},
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	await(t, "the endpoint", func() bool {
		_, err := nc.Request(api.HealthTest.Subject("quick"), nil, patience)
		return err == nil
	})
	return nc, entered
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// Requests that are not answered hold half of the slots, or of the memory, and others are answered.
func TestEndpointsShareAProcess(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		requests int
		body     []byte
		enter    int64
	}{
		"slots":  {200, nil, 128},
		"memory": {35, make([]byte, api.MaxRequestBytes), 32},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, entered := serve(t)
			for i := range tt.requests {
				if err := nc.PublishRequest(api.HealthTest.Subject("hung"), nc.NewInbox(), tt.body); err != nil {
					t.Fatal(err)
				}
				// What waits for its turn is bounded, too.
				next := min(int64(i+1), tt.enter)
				await(t, "a request that has room", func() bool { return entered.Load() >= next })
			}
			if _, err := nc.Request(api.HealthTest.Subject("quick"), tt.body, patience); err != nil {
				t.Errorf("another endpoint: %v", err)
			}
			if n := entered.Load(); n != tt.enter {
				t.Errorf("%d requests are worked on, want %d", n, tt.enter)
			}
		})
	}
}

// A request that is too large is refused, by the server and by the client.
func TestLargeRequests(t *testing.T) {
	t.Parallel()
	nc, _ := serve(t)
	answer, err := nc.Request(api.HealthTest.Subject("quick"), make([]byte, api.MaxRequestBytes+1), patience)
	if err != nil {
		t.Fatal(err)
	}
	var refused api.Error
	if err := json.Unmarshal(answer.Data, &refused); err != nil || refused.Code != api.Invalid || !strings.Contains(refused.Message, "262144 at most") {
		t.Errorf("the server says %s", answer.Data)
	}
	_, err = api.New(nc, patience).CreateIntegration(t.Context(), api.CreateIntegration{
		Provider: "quick", Metadata: json.RawMessage(`"` + strings.Repeat("x", api.MaxRequestBytes) + `"`),
	})
	if api.CodeOf(err) != api.Invalid || !strings.Contains(err.Error(), "262144 at most") {
		t.Errorf("the client says %v", err)
	}
}
