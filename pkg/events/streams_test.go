package events_test

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
	"github.com/tributaryhq/tributary/pkg/events"
)

var update = flag.Bool("update", false, "write docs/subjects.md anew")

var providers = []string{"github", "git", "my-shop"}

func consumers(timing events.Timing) map[string][]jetstream.ConsumerConfig {
	all := map[string][]jetstream.ConsumerConfig{events.StreamCommands: {events.CommandsConsumer(timing)}}
	for _, provider := range providers {
		all[events.StreamSync] = append(all[events.StreamSync], events.SyncConsumer(provider, timing))
		all[events.StreamItems] = append(all[events.StreamItems],
			events.ItemsConsumer(events.Shared, provider, timing), events.ItemsConsumer(events.Bulk, provider, timing))
		all[events.StreamWebhooks] = append(all[events.StreamWebhooks], events.WebhooksConsumer(provider, timing))
	}
	return all
}

// The broker itself refuses overlapping streams, and overlapping consumers of a work queue.
func TestStreamsConsumersAndBucketsLiveTogether(t *testing.T) {
	js, err := jetstream.New(natstest.New(t).Connect())
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range events.Streams(1) {
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			t.Errorf("create stream %s: %v", config.Name, err)
		}
	}
	for _, config := range events.Buckets(1, events.DefaultTiming()) {
		if _, err := js.CreateKeyValue(t.Context(), config); err != nil {
			t.Errorf("create bucket %s: %v", config.Bucket, err)
		}
	}
	for stream, configs := range consumers(events.DefaultTiming()) {
		for _, config := range configs {
			if _, err := js.CreateConsumer(t.Context(), stream, config); err != nil {
				t.Errorf("create consumer %s: %v", config.Durable, err)
			}
		}
	}
}

func TestEverySubjectHasOneStreamAndOneConsumer(t *testing.T) {
	address := events.ItemAddress{Lane: events.Shared, Provider: "git", Integration: "i", Run: "r", Attempt: 1}
	bulk := address
	bulk.Lane = events.Bulk
	tests := []struct {
		name, subject, stream, consumer string
	}{
		{"due", events.SyncDueSubject("git", "i"), events.StreamSync, "syncer-git"},
		{"first batch", events.ItemsSubject(address), events.StreamItems, "worker-shared-git"},
		{"other batch", events.ItemsSubject(bulk), events.StreamItems, "worker-bulk-git"},
		{"waiting hop", events.RetrySubject(address), events.StreamItems, ""},
		{"command", events.CommandSubject(events.VerbSync, "i"), events.StreamCommands, "scheduler"},
		{"webhook", events.WebhooksSubject("git", "i"), events.StreamWebhooks, "webhooks-git"},
		{"event", events.EventSubject(events.RunStarted, "git", "i"), events.StreamEvents, ""},
		{"request", events.APISubject("runs", "list", ""), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var streams, durables []string
			for _, stream := range events.Streams(1) {
				if matchesAny(stream.Subjects, tt.subject) {
					streams = append(streams, stream.Name)
				}
			}
			for _, config := range consumers(events.DefaultTiming())[tt.stream] {
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
	timing := events.Timing{AckWait: 7 * time.Second, WorkerLease: 3 * time.Second}
	for stream, configs := range consumers(timing) {
		for _, config := range configs {
			if config.AckWait != timing.AckWait || config.MaxDeliver != -1 || config.AckPolicy != jetstream.AckExplicitPolicy {
				t.Errorf("consumer %s of %s loses or keeps messages: %+v", config.Durable, stream, config)
			}
		}
	}
	ages := map[string]time.Duration{
		events.BucketWorkers: timing.WorkerLease, events.BucketLimits: events.LimitsMaxAge, events.BucketKeys: events.KeysMaxAge,
		events.BucketGrants: events.GrantsMaxAge,
	}
	for _, bucket := range events.Buckets(1, timing) {
		if want := ages[bucket.Bucket]; bucket.TTL != want {
			t.Errorf("bucket %s forgets after %s, want %s", bucket.Bucket, bucket.TTL, want)
		}
	}
	for _, stream := range events.Streams(3) {
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
	for bound, want := range map[time.Duration][2]int{0: {10_000, 1000}, time.Second: {10_000, 1000}, time.Minute: {60_000, 6000}} {
		timing := events.Timing{AckWait: time.Second, LagBound: bound}
		got := [2]int{events.WebhooksConsumer("shop", timing).MaxAckPending, events.CommandsConsumer(timing).MaxAckPending}
		if got != want {
			t.Errorf("with a bound of %s, %v webhooks and commands may wait, want %v", bound, got, want)
		}
	}
}

func TestSubjectsDocument(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Subjects, streams and buckets\n\nGenerated by `go test ./pkg/events -update`; don't edit.\n\n## Subjects\n\n")
	b.WriteString("| subject | built by |\n| --- | --- |\n")
	address := events.ItemAddress{Lane: "<lane>", Provider: "<provider>", Integration: "<integration>", Run: "<run>"}
	numbered := func(subject string, names ...string) string {
		tokens := strings.Split(subject, ".")
		for i, name := range names {
			tokens[len(tokens)-len(names)+i] = "<" + name + ">"
		}
		return strings.Join(tokens, ".")
	}
	for _, row := range [][2]string{
		{events.SyncDueSubject("<provider>", "<integration>"), "SyncDueSubject"},
		{numbered(events.ItemsSubject(address), "attempt"), "ItemsSubject"},
		{numbered(events.RetrySubject(address), "attempt", "batch", "index", "hop", "members"), "RetrySubject"},
		{events.WebhooksSubject("<provider>", "<integration>"), "WebhooksSubject"},
		{events.CommandSubject("<verb>", "<integration>"), "CommandSubject"},
		{events.EventSubject("<name>", "<provider>", "<integration>"), "EventSubject"},
		{events.APISubject("<noun>", "<verb>", "") + "[.<provider>]", "APISubject"},
	} {
		fmt.Fprintf(&b, "| `%s` | `events.%s` |\n", row[0], row[1])
	}
	b.WriteString("\nThe lanes are `shared` and `bulk`.\nThe verbs are ")
	for i, verb := range events.Verbs() {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "`%s`", verb)
	}
	b.WriteString(".\n\n## Streams\n\n| stream | subjects | retention | for |\n| --- | --- | --- | --- |\n")
	for _, s := range events.Streams(1) {
		retention := map[jetstream.RetentionPolicy]string{jetstream.WorkQueuePolicy: "work queue", jetstream.LimitsPolicy: "limits"}[s.Retention]
		if s.MaxAge > 0 {
			retention += ", " + s.MaxAge.String()
		}
		if s.Discard == jetstream.DiscardNew {
			retention += ", full refuses the newest"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", s.Name, strings.Join(s.Subjects, "` `"), retention, s.Description)
	}
	b.WriteString("\n## Consumers\n\n| durable | stream | filter |\n| --- | --- | --- |\n")
	timing := events.DefaultTiming()
	for _, row := range []struct {
		stream string
		config jetstream.ConsumerConfig
	}{
		{events.StreamSync, events.SyncConsumer("<provider>", timing)},
		{events.StreamItems, events.ItemsConsumer(events.Shared, "<provider>", timing)},
		{events.StreamItems, events.ItemsConsumer(events.Bulk, "<provider>", timing)},
		{events.StreamWebhooks, events.WebhooksConsumer("<provider>", timing)},
		{events.StreamCommands, events.CommandsConsumer(timing)},
	} {
		fmt.Fprintf(&b, "| `%s` | `%s` | `%s` |\n", row.config.Durable, row.stream, row.config.FilterSubject)
	}
	b.WriteString("\n## Buckets\n\n| bucket | for |\n| --- | --- |\n")
	for _, bucket := range events.Buckets(1, timing) {
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
		t.Errorf("docs/subjects.md is out of date, run go test ./pkg/events -update (-file +code):\n%s", diff)
	}
}
