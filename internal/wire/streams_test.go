package wire_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

var update = flag.Bool("update", false, "write docs/subjects.md anew")

var providers = []string{"github", "git", "my-shop"}

func consumers(timing wire.Timing) map[string][]jetstream.ConsumerConfig {
	all := map[string][]jetstream.ConsumerConfig{wire.StreamCommands: {wire.CommandsConsumer(timing)}}
	for _, provider := range providers {
		all[wire.StreamSync] = append(all[wire.StreamSync], wire.SyncConsumer(provider, timing))
		all[wire.StreamItems] = append(all[wire.StreamItems],
			wire.ItemsConsumer(wire.Shared, provider, timing), wire.ItemsConsumer(wire.Bulk, provider, timing))
		all[wire.StreamWebhooks] = append(all[wire.StreamWebhooks], wire.WebhooksConsumer(provider, timing))
	}
	return all
}

// The broker itself refuses overlapping streams, and overlapping consumers of a work queue.
func TestStreamsConsumersAndBucketsLiveTogether(t *testing.T) {
	js, err := jetstream.New(natstest.New(t).Connect())
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range wire.Streams(1) {
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			t.Errorf("create stream %s: %v", config.Name, err)
		}
	}
	for _, config := range wire.Buckets(1, wire.DefaultTiming()) {
		if _, err := js.CreateKeyValue(t.Context(), config); err != nil {
			t.Errorf("create bucket %s: %v", config.Bucket, err)
		}
	}
	for stream, configs := range consumers(wire.DefaultTiming()) {
		for _, config := range configs {
			if _, err := js.CreateConsumer(t.Context(), stream, config); err != nil {
				t.Errorf("create consumer %s: %v", config.Durable, err)
			}
		}
	}
}

func TestEverySubjectHasOneStreamAndOneConsumer(t *testing.T) {
	address := wire.ItemAddress{Lane: wire.Shared, Provider: "git", Integration: "i", Run: "r", Attempt: 1}
	bulk := address
	bulk.Lane = wire.Bulk
	tests := []struct {
		name, subject, stream, consumer string
	}{
		{"due", wire.SyncDueSubject("git", "i"), wire.StreamSync, "syncer-git"},
		{"first batch", wire.ItemsSubject(address), wire.StreamItems, "worker-shared-git"},
		{"other batch", wire.ItemsSubject(bulk), wire.StreamItems, "worker-bulk-git"},
		{"waiting hop", wire.RetrySubject(address), wire.StreamItems, ""},
		{"command", events.CommandSubject(events.VerbSync, "i"), wire.StreamCommands, "scheduler"},
		{"webhook", wire.WebhooksSubject("git", "i"), wire.StreamWebhooks, "webhooks-git"},
		{"event", events.EventSubject(events.RunStarted, "git", "i"), events.StreamEvents, ""},
		{"request", wire.APISubject("runs", "list", ""), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var streams, durables []string
			for _, stream := range wire.Streams(1) {
				if matchesAny(stream.Subjects, tt.subject) {
					streams = append(streams, stream.Name)
				}
			}
			for _, config := range consumers(wire.DefaultTiming())[tt.stream] {
				if matchesAny([]string{config.FilterSubject}, tt.subject) {
					durables = append(durables, config.Durable)
				}
			}
			if got := strings.Join(streams, " "); got != tt.stream {
				t.Errorf("%s is on %q, want %q", tt.subject, got, tt.stream)
			}
			if got := strings.Join(durables, " "); got != tt.consumer {
				t.Errorf("%s goes to %q, want %q", tt.subject, got, tt.consumer)
			}
		})
	}
}

func TestWorkConsumers(t *testing.T) {
	timing := wire.Timing{AckWait: 7 * time.Second, WorkerLease: 3 * time.Second}
	for stream, configs := range consumers(timing) {
		for _, config := range configs {
			if config.AckWait != timing.AckWait || config.MaxDeliver != -1 ||
				config.AckPolicy != jetstream.AckExplicitPolicy {
				t.Errorf("consumer %s of %s loses or keeps messages: %+v", config.Durable, stream, config)
			}
		}
	}
	ages := map[string]time.Duration{
		wire.BucketWorkers: timing.WorkerLease, wire.BucketLimits: wire.LimitsMaxAge, wire.BucketKeys: wire.KeysMaxAge,
		wire.BucketGrants: wire.GrantsMaxAge,
	}
	for _, bucket := range wire.Buckets(1, timing) {
		if want := ages[bucket.Bucket]; bucket.TTL != want {
			t.Errorf("bucket %s forgets after %s, want %s", bucket.Bucket, bucket.TTL, want)
		}
	}
	for _, stream := range wire.Streams(3) {
		if stream.Replicas != 3 {
			t.Errorf("stream %s has %d replicas, want 3", stream.Name, stream.Replicas)
		}
		if stream.Discard == jetstream.DiscardNew && stream.AllowMsgSchedules {
			t.Errorf("stream %s has schedules and refuses new messages: the broker allows one of the two", stream.Name)
		}
	}
}

// TestLagBound has consumers deliver what comes within the lag bound, though none of it is acknowledged.
func TestLagBound(t *testing.T) {
	for bound, want := range map[time.Duration][2]int{
		0: {10_000, 1000}, time.Second: {10_000, 1000},
		time.Minute: {60_000, 6000},
	} {
		timing := wire.Timing{AckWait: time.Second, LagBound: bound}
		got := [2]int{wire.WebhooksConsumer("shop", timing).MaxAckPending, wire.CommandsConsumer(timing).MaxAckPending}
		if got != want {
			t.Errorf("with a bound of %s, %v webhooks and commands may wait, want %v", bound, got, want)
		}
	}
}

func TestSubjectsDocument(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Subjects, streams and buckets\n\nGenerated by `go test ./internal/wire -update`; don't " +
		"edit.\n\n## Subjects\n\n")
	b.WriteString("| subject | built by |\n| --- | --- |\n")
	address := wire.ItemAddress{Lane: "<lane>", Provider: "<provider>", Integration: "<integration>", Run: "<run>"}
	numbered := func(subject string, names ...string) string {
		tokens := strings.Split(subject, ".")
		for i, name := range names {
			tokens[len(tokens)-len(names)+i] = "<" + name + ">"
		}
		return strings.Join(tokens, ".")
	}
	for _, row := range [][2]string{
		{wire.SyncDueSubject("<provider>", "<integration>"), "wire.SyncDueSubject"},
		{numbered(wire.ItemsSubject(address), "attempt"), "wire.ItemsSubject"},
		{numbered(wire.RetrySubject(address), "attempt", "batch", "index", "hop", "members"), "wire.RetrySubject"},
		{wire.WebhooksSubject("<provider>", "<integration>"), "wire.WebhooksSubject"},
		{events.CommandSubject("<verb>", "<integration>"), "events.CommandSubject"},
		{events.EventSubject("<name>", "<provider>", "<integration>"), "events.EventSubject"},
		{wire.APISubject("<noun>", "<verb>", "") + "[.<provider>]", "wire.APISubject"},
	} {
		fmt.Fprintf(&b, "| `%s` | `%s` |\n", row[0], row[1])
	}
	b.WriteString("\nThe lanes are `shared` and `bulk`.\nThe verbs are ")
	for i, verb := range events.Verbs() {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "`%s`", verb)
	}
	b.WriteString(".\n\n## Streams\n\n| stream | subjects | retention | for |\n| --- | --- | --- | --- |\n")
	for _, s := range wire.Streams(1) {
		retention := map[jetstream.RetentionPolicy]string{
			jetstream.WorkQueuePolicy: "work queue",
			jetstream.LimitsPolicy:    "limits",
		}[s.Retention]
		if s.MaxAge > 0 {
			retention += ", " + s.MaxAge.String()
		}
		if s.Discard == jetstream.DiscardNew {
			retention += ", full refuses the newest"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", s.Name, strings.Join(s.Subjects, "` `"), retention,
			s.Description)
	}
	b.WriteString("\n## Consumers\n\n| durable | stream | filter |\n| --- | --- | --- |\n")
	timing := wire.DefaultTiming()
	for _, row := range []struct {
		stream string
		config jetstream.ConsumerConfig
	}{
		{wire.StreamSync, wire.SyncConsumer("<provider>", timing)},
		{wire.StreamItems, wire.ItemsConsumer(wire.Shared, "<provider>", timing)},
		{wire.StreamItems, wire.ItemsConsumer(wire.Bulk, "<provider>", timing)},
		{wire.StreamWebhooks, wire.WebhooksConsumer("<provider>", timing)},
		{wire.StreamCommands, wire.CommandsConsumer(timing)},
	} {
		fmt.Fprintf(&b, "| `%s` | `%s` | `%s` |\n", row.config.Durable, row.stream, row.config.FilterSubject)
	}
	b.WriteString("\n## Buckets\n\n| bucket | for |\n| --- | --- |\n")
	for _, bucket := range wire.Buckets(1, timing) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", bucket.Bucket, bucket.Description)
	}
	golden := filepath.Join("..", "..", "docs", "subjects.md")
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("docs/subjects.md is out of date, run go test ./internal/wire -update (-file +code):\n%s", diff)
	}
}
