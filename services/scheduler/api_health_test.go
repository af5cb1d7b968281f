package scheduler_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/vitals"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// clinic is a shop that can be asked how it is and whose it is.
type clinic struct{ shop }

func (clinic) HealthCheck(_ context.Context, in *contracts.Integration) error {
	switch in.Name() {
	case "ill":
		return errors.New("it coughs")
	case "busy":
		return contracts.RetryAfter(time.Minute, errors.New("no budget"))
	case "away":
		// Such an error of Postgres would say that this is away.
		return &net.OpError{Op: "dial", Err: errors.New("refused")}
	}
	return nil
}

func (clinic) ResolveIdentity(context.Context, *contracts.Integration) (contracts.Identity, error) {
	return contracts.Identity{ID: "7", Username: "ada"}, nil
}

func TestHealthIsShownAndTested(t *testing.T) {
	t.Parallel()
	f := start(t, map[string]contracts.Provider{"shop": clinic{}}, map[string]contracts.Provider{"inbox": inbox{}})
	for _, name := range []string{"well", "ill", "busy", "away"} {
		f.mustCreate(t, newShop(name))
	}
	f.mustCreate(t, api.CreateIntegration{Provider: "inbox", Name: "mute"})
	got := map[string]string{}
	for _, name := range []string{"well", "ill", "busy", "away", "mute"} {
		result, err := f.TestHealth(t.Context(), name, "")
		if err != nil {
			t.Fatal(err)
		}
		got[name] = result.Result + " " + result.Error
	}
	want := map[string]string{
		"well": "passed ", "ill": "failed it coughs", "busy": "deferred retry after 1m0s: no budget",
		"away": "failed dial: refused", "mute": "unsupported the provider has no health check",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tests (-want +got):\n%s", diff)
	}
	shown, err := f.Health(t.Context(), "well", "")
	if err != nil || shown.Health != health.Healthy || shown.Identity == nil || shown.Identity.Username != "ada" ||
		shown.NextProbeAt == nil {
		t.Errorf("health: %+v, %v", shown, err)
	}
	integration, err := f.Integration(t.Context(), "well")
	if err != nil || integration.Health != health.Healthy || integration.Details.Identity == nil ||
		integration.Details.Identity.ID != "7" {
		t.Errorf("integration: %+v, %v", integration, err)
	}
	_, err = f.Health(t.Context(), "nobody", "")
	wantCode(t, err, api.NotFound, "nobody")
}

func TestDisabledIsEnabledByCommand(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	id := f.mustCreate(t, newShop("north")).ID
	now := time.Now()
	settings := health.DefaultSettings()
	settings.DisabledFor = 0
	keeper := &health.Keeper{Store: f.store, Log: slog.New(slog.DiscardHandler), Now: func() time.Time {
		return now
	}, Settings: settings}
	down := vitals.Report{Integration: id, Failed: true, Failures: 50, Error: "GET /x: 503"}
	if _, err := keeper.ReportHealth(t.Context(), []vitals.Report{down}); err != nil {
		t.Fatal(err)
	}
	_, err := f.Command(t.Context(), events.VerbSync, &eventsv1.Command{Integration: "north"})
	wantCode(t, err, api.Refused, "disabled")
	_, err = f.Command(t.Context(), events.VerbPause, &eventsv1.Command{Integration: "north"})
	wantCode(t, err, api.Refused, "disabled")
	open, err := f.Incidents(t.Context(), api.ListIncidents{Integration: "north", Open: true})
	if err != nil || len(open.Incidents) != 1 || open.Incidents[0].PeakSeverity != health.Disabled ||
		open.Incidents[0].Integration != "north" {
		t.Fatalf("incidents: %+v, %v", open, err)
	}
	for _, want := range []string{"enabled", "enabled already"} {
		reply, err := f.Command(t.Context(), events.VerbEnable,
			&eventsv1.Command{Integration: "north", Reason: "mended", By: "ada"})
		if err != nil || reply.GetResult() != want {
			t.Errorf("enable: %v, %v; want %q", reply, err, want)
		}
	}
	shown, err := f.Integration(t.Context(), "north")
	if err != nil || shown.Status != "active" || shown.Health != health.Healthy {
		t.Errorf("integration: %+v, %v", shown, err)
	}
	incident, err := f.Incident(t.Context(), open.Incidents[0].ID)
	if err != nil || incident.ClosedAt == nil || len(incident.Raised) != 0 || len(incident.Timeline) != 2 {
		t.Errorf("incident: %+v, %v", incident, err)
	}
	_, err = f.Incident(t.Context(), postgres.NewID().String())
	wantCode(t, err, api.NotFound, "no incident")
}

func TestStats(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	id := f.mustCreate(t, newShop("north")).ID
	f.mustCreate(t, newShop("south"))
	reply, err := f.Command(t.Context(), events.VerbSync, &eventsv1.Command{Integration: "north"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Command(t.Context(), events.VerbCancel, &eventsv1.Command{Integration: "north"}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	keeper := &health.Keeper{
		Store: f.store, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Settings: health.DefaultSettings(),
	}
	count := func(ago time.Duration, succeeded, upstream int64) vitals.Count {
		return vitals.Count{
			Integration: id, Minute: now.Add(-ago), Succeeded: succeeded, Upstream: upstream, Cached: 1,
			Took: 10 * time.Millisecond,
		}
	}
	if _, err := keeper.CountRequests(t.Context(), []vitals.Count{
		count(0, 3, 1), count(48*time.Hour, 10, 0),
		count(14*24*time.Hour, 100, 0),
	}); err != nil {
		t.Fatal(err)
	}
	page, err := f.Stats(t.Context(), api.ListIntegrations{})
	if err != nil {
		t.Fatal(err)
	}
	want := []api.Stats{{
		Integration: "north", Provider: "shop",
		Day:        api.RequestStats{Requests: 4, Failed: 1, Upstream: 1, Cached: 1, AverageMS: 2.5},
		Week:       api.RequestStats{Requests: 14, Failed: 1, Upstream: 1, Cached: 2, AverageMS: 20.0 / 14},
		Month:      api.RequestStats{Requests: 114, Failed: 1, Upstream: 1, Cached: 3, AverageMS: 30.0 / 114},
		Operations: map[string]map[string]int64{"sync": {"cancelled": 1}},
	}, {Integration: "south", Provider: "shop", Operations: map[string]map[string]int64{}}}
	if diff := cmp.Diff(want, page.Integrations); diff != "" {
		t.Errorf("run %s: (-want +got):\n%s", reply.GetRunId(), diff)
	}
}

// TestIncidentsAreResolved resolves an incident of the whole installation, which is listed beside those of
// integrations; theirs close by themselves.
func TestIncidentsAreResolved(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	f.mustCreate(t, newShop("north"))
	at, overall := time.Now().UTC().Truncate(time.Microsecond), postgres.NewID()
	err := f.store.InTx(t.Context(), func(tx *postgres.Tx) error {
		in, err := tx.IntegrationGetByName(t.Context(), "north")
		if err != nil {
			return err
		}
		if err := health.Raise(t.Context(), tx, in, health.Signal{
			Source: health.SourceSync, Severity: health.Failing,
			Reason: "stale",
		}, at); err != nil {
			return err
		}
		for range 2 {
			signal := health.Signal{Source: health.SourceNATS, Severity: health.Failing, Reason: "NATS went back"}
			if err := health.Open(t.Context(), tx, overall, signal, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := f.Incidents(t.Context(), api.ListIncidents{Open: true})
	if err != nil || len(page.Incidents) != 2 {
		t.Fatalf("listed: %+v, %v", page, err)
	}
	got := map[string]string{}
	for _, i := range page.Incidents {
		got[i.Integration] = i.ID
	}
	if got[""] != overall.String() {
		t.Errorf("listed: %v", got)
	}
	_, err = f.ResolveIncident(t.Context(), api.ResolveIncident{ID: overall.String(), By: "ann"})
	wantCode(t, err, api.Invalid, "reason")
	_, err = f.ResolveIncident(t.Context(), api.ResolveIncident{ID: got["north"], By: "ann", Reason: "seen"})
	wantCode(t, err, api.Refused, "north: it closes by itself")
	_, err = f.ResolveIncident(t.Context(), api.ResolveIncident{
		ID: postgres.NewID().String(), By: "ann",
		Reason: "seen",
	})
	wantCode(t, err, api.NotFound, "there is no incident")
	var shown api.Incident
	for range 2 {
		if shown, err = f.ResolveIncident(t.Context(), api.ResolveIncident{
			ID: overall.String(), By: "ann",
			Reason: "restored",
		}); err != nil {
			t.Fatal(err)
		}
	}
	timeline := []string{}
	for _, s := range shown.Timeline {
		timeline = append(timeline, s.Source+" "+s.Severity+": "+s.Reason)
	}
	if diff := cmp.Diff([]string{"nats failing: NATS went back", "nats : resolved by ann: restored"},
		timeline); diff != "" || shown.ClosedAt == nil || len(shown.Raised) != 0 {
		t.Errorf("timeline (-want +got):\n%s\n%+v", diff, shown)
	}
	if told := f.event(t, events.IncidentClosed); told["incident_id"] != overall.String() ||
		told["integration"] != nil {
		t.Errorf("told: %v", told)
	}
}
