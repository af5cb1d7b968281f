package wire_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func TestNewWork(t *testing.T) {
	due := &eventsv1.SyncDue{RunId: run, IntegrationId: integration, Provider: "github", Attempt: 2, Wake: 5}
	m, err := wire.NewWork(wire.SyncDueSubject("github", integration), run+"/2/5", due)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != wire.SyncDueSubject("github", integration) || m.ID != run+"/2/5" {
		t.Errorf("message goes to %q as %q", m.Subject, m.ID)
	}
	want := map[string]string{events.HeaderContentType: events.ContentProtobuf, events.HeaderSchema: "tributary.events.v1.SyncDue"}
	if diff := cmp.Diff(want, m.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	got := &eventsv1.SyncDue{}
	if err := proto.Unmarshal(m.Body, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(due, got, protocmp.Transform()); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestNewEvent(t *testing.T) {
	m, err := wire.NewEvent(events.ItemStuck, "github", integration, "", &eventsv1.ItemStuck{
		Integration: wire.NewRef(integration, "github", "main", "team"), RunId: run, Runs: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "tributary.events.item-stuck.github." + integration; m.Subject != want || m.ID != "" {
		t.Errorf("event goes to %q as %q, want %q without an id", m.Subject, m.ID, want)
	}
	if got := m.Header[events.HeaderContentType]; got != events.ContentJSON {
		t.Errorf("content type is %q", got)
	}
	var got map[string]any
	if err := json.Unmarshal(m.Body, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"integration": map[string]any{"integration_id": integration, "provider": "github", "name": "main", "owner": "team"},
		"run_id":      run, "runs": 3.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestMessagesThatCanNotBeEncoded(t *testing.T) {
	broken := &eventsv1.SyncDue{RunId: "\xff"}
	if _, err := wire.NewWork("s", "id", broken); err == nil {
		t.Error("a work message with invalid text is accepted")
	}
	if _, err := wire.NewEvent(events.RunStarted, "p", "i", "", broken); err == nil {
		t.Error("an event with invalid text is accepted")
	}
}
