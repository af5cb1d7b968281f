package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/cli"
)

func failing() api.Health {
	return api.Health{
		Integration: "docs", IntegrationID: integration().ID, Provider: "github", Status: "active", Health: "failing", Reason: "20 upstream failures in a row: GET /x: 503",
		Since: before(time.Hour), ConsecutiveFailures: 23, LastError: "GET /x: 503", LastErrorAt: before(time.Minute), NextProbeAt: before(-5 * time.Minute),
		LastSyncedAt: before(2 * time.Hour),
	}
}

func incident() api.Incident {
	return api.Incident{
		ID: "01a208a9-0000-7000-8000-000000000003", Integration: "docs", Source: "health", Reason: "5 upstream failures in a row", Raised: []string{"sync", "health"},
		PeakSeverity: "failing", OpenedAt: *before(2 * time.Hour), LastSignalAt: *before(time.Hour),
	}
}

func TestHealthOutput(t *testing.T) {
	t.Parallel()
	shown := failing()
	shown.Incident, shown.Identity = incident().ID, &api.Identity{ID: "7", Username: "ada"}
	timeline := incident()
	timeline.ClosedAt, timeline.Raised = before(time.Minute), []string{}
	timeline.Timeline = []api.IncidentSignal{
		{At: *before(2 * time.Hour), Source: "health", Severity: "degraded", Reason: "5 upstream failures in a row"},
		{At: *before(time.Minute), Source: "health", Reason: "the upstream answers again"},
	}
	s := newStub(t)
	s.on(api.IntegrationsShow, "", integration())
	s.on(api.HealthList, "", api.HealthPage{Integrations: []api.Health{failing(), {Integration: "wiki", Provider: "github", Status: "active", Health: "healthy"}}})
	s.on(api.HealthShow, "github", shown)
	s.on(api.StatsList, "", api.StatsPage{Integrations: []api.Stats{{
		Integration: "docs", Provider: "github", Day: api.RequestStats{Requests: 200, Failed: 5, Cached: 50, AverageMS: 12.4}, Month: api.RequestStats{Requests: 900, Failed: 9},
		Operations: map[string]map[string]int64{"sync": {"succeeded": 90, "partial": 1}},
	}, {Integration: "wiki", Provider: "github"}}})
	s.on(api.IncidentsList, "", api.IncidentPage{Incidents: []api.Incident{incident()}})
	s.on(api.IncidentsShow, "", timeline)
	s.on(api.IncidentsResolve, "", timeline)
	for _, test := range []struct{ name, args string }{
		{"healths", "health"},
		{"health", "health docs"},
		{"health json", "health docs --json"},
		{"stats", "stats"},
		{"incidents", "incidents list --open"},
		{"incidents json", "incidents list --json"},
		{"incident", "incidents show 1"},
		{"resolve", "incidents resolve 1 --by ann --reason restored"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.run(nil, strings.Fields(test.args)...)
			if got.code != cli.ExitOK || got.err != "" {
				t.Fatalf("exit code %d: %s", got.code, got.err)
			}
			golden(t, got.out)
		})
	}
}

// The exit code says whether any upstream fails; one that can't be asked fails nothing.
func TestTest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args   string
		result string
		code   int
	}{
		"passed":      {"test docs", "passed", cli.ExitOK},
		"failed":      {"test docs", "failed", cli.ExitFailed},
		"deferred":    {"test docs", "deferred", cli.ExitOK},
		"unsupported": {"test docs --json", "unsupported", cli.ExitOK},
		"all":         {"test --all", "failed", cli.ExitFailed},
		"none":        {"test", "", cli.ExitUsage},
		"both":        {"test docs --all", "", cli.ExitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStub(t)
			s.on(api.IntegrationsShow, "", integration())
			s.on(api.HealthList, "", api.HealthPage{Integrations: []api.Health{failing(), {Integration: "zoo", Provider: "github", Status: "paused"}}})
			s.on(api.HealthTest, "github", api.TestResult{Integration: "docs", Provider: "github", Result: test.result, TookMS: 7})
			got := s.run(nil, strings.Fields(test.args)...)
			if got.code != test.code {
				t.Errorf("exit code %d, want %d: %s", got.code, test.code, got.err)
			}
			if test.result != "" && (!strings.Contains(got.out, test.result) || strings.Contains(got.out, "zoo")) {
				t.Errorf("it says %q", got.out)
			}
		})
	}
}
