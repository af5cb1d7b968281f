package app

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/api"
)

// TestDoctorTellsOfIncidents has an open incident of the whole installation on the second page: doctor warns of it, and in one line of those of
// integrations.
func TestDoctorTellsOfIncidents(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	pages := map[string]api.IncidentPage{
		"":  {Incidents: []api.Incident{{ID: "3", Integration: "docs", Reason: "5 failures"}, {ID: "2", Integration: "code", Reason: "stale"}}, Next: "2"},
		"2": {Incidents: []api.Incident{{ID: "1", Reason: "NATS went back", OpenedAt: at}}},
	}
	said := []string{}
	examineIncidents(t.Context(), func(_ context.Context, list api.ListIncidents) (api.IncidentPage, error) {
		if !list.Open {
			t.Error("asked for closed ones too")
		}
		return pages[list.Before], nil
	}, func(ok bool, what, text string) {
		if !ok {
			t.Error("it is no warning")
		}
		said = append(said, what+" "+text)
	})
	want := []string{
		"incidents warning: 2026-01-02 03:04:05: NATS went back. Then run: tributary incidents resolve 1",
		"incidents warning: integrations have 2 open incidents, the newest of docs: 5 failures. See: tributary incidents list --open",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

// TestDoctorTellsOfMissingServices: no process can say that it is not there.
func TestDoctorTellsOfMissingServices(t *testing.T) {
	t.Parallel()
	said := map[bool][]string{}
	examineMissing([]api.Process{{Services: []string{"scheduler"}}, {Services: []string{"item-worker", "token-refresher"}}}, func(ok bool, _, text string) {
		said[ok] = append(said[ok], text)
	})
	want := map[bool][]string{
		false: {"no process runs the syncer: start one with: tributary syncer"},
		true:  {"warning: no process runs the webhook-ingress, so that no webhooks are taken in"},
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}
