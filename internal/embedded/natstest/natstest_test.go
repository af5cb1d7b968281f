package natstest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func newStream(t *testing.T, conn *nats.Conn) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", nil); err != nil {
		t.Fatal(err)
	}
	return js, stream
}

func TestRestartKeepsDataPortAndClients(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *natstest.Server{"in process": natstest.New, "listening": natstest.NewListening} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			again := make(chan struct{}, 1)
			conn := s.Connect(nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1),
				nats.ReconnectHandler(func(*nats.Conn) { again <- struct{}{} }))
			js, _ := newStream(t, conn)
			url := s.URL()
			s.Restart()
			if diff := cmp.Diff(url, s.URL()); diff != "" {
				t.Error("URL:", diff)
			}
			<-again
			stream, err := js.Stream(t.Context(), "S")
			if err != nil {
				t.Fatal(err)
			}
			if n := stream.CachedInfo().State.Msgs; n != 1 {
				t.Errorf("got %d messages, want 1", n)
			}
		})
	}
}

func TestBackOffKeepsToFakeTime(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		_, stream := newStream(t, natstest.New(t).Connect())
		backOff := []time.Duration{time.Second, time.Minute, 10 * time.Minute}
		consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
			Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, BackOff: backOff, MaxDeliver: 4,
		})
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		var got []time.Duration
		for range 4 {
			msg, err := consumer.Next(jetstream.FetchMaxWait(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			_ = msg // left without an answer, so that the server delivers it again
			got = append(got, time.Since(started).Truncate(time.Second))
		}
		want := []time.Duration{0, time.Second, 61 * time.Second, 661 * time.Second}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRestartInABubble(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.New(t)
		again := make(chan struct{}, 1)
		newStream(t, s.Connect(nats.ReconnectHandler(func(*nats.Conn) { again <- struct{}{} })))
		s.Restart()
		<-again
	})
}
