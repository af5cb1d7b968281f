package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/events"
)

func before(d time.Duration) *time.Time {
	at := now.Add(-d)
	return &at
}

func integration() api.Integration {
	return api.Integration{
		ID: "01a208a9-b06a-7948-8f61-80b3b09720e2", Provider: "github", Name: "docs", Owner: "team-7", Status: "active",
		Health: "healthy", SyncInterval: "15m0s",
		LastSyncedAt: before(3 * time.Minute), NextSyncAt: before(-12 * time.Minute), Version: 3,
		CreatedAt: *before(72 * time.Hour), UpdatedAt: *before(time.Hour),
	}
}

func detailed() api.Integration {
	i := integration()
	i.Details = &api.IntegrationDetails{
		Metadata: json.RawMessage(`{"owner":"octo","repo":"<docs>"}`), Credentials: []string{"token"},
		Cursor: json.RawMessage(`"2026-01-31T11:57:00Z"`), CursorVersion: 9,
	}
	return i
}

func closedRun(state string) api.Run {
	return api.Run{
		ID: "01a208a9-0000-7000-8000-000000000001", Integration: "docs", IntegrationID: integration().ID,
		Provider: "github", Mode: "incremental", Cause: "schedule",
		State: runstate.State(state), Attempt: 1, Items: 250, Done: 249, Dead: 1, CreatedAt: *before(5 * time.Minute),
		ClosedAt: before(4 * time.Minute),
	}
}

func openRun(state string, progress *api.Progress) api.Run {
	run := closedRun(state)
	run.ClosedAt, run.Done, run.Dead, run.Items, run.Progress = nil, 0, 0, 0, progress
	return run
}

func deadItem() api.DeadItem {
	return api.DeadItem{
		ID: "01a208a9-0000-7000-8000-000000000002", Integration: "docs", IntegrationID: integration().ID,
		Provider: "github", RunID: closedRun("").ID, Attempt: 1, Batch: 2, Index: 7,
		EventType: "issue", ExternalID: "42", Reason: "tries used up", Error: "no such\x1b[31m label\nat all",
		Tries: 5, Status: "open",
		CreatedAt: *before(4 * time.Minute), UpdatedAt: *before(4 * time.Minute),
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	stale := integration()
	stale.Name, stale.SyncInterval, stale.StaleSince, stale.LastSyncedAt, stale.ConsecutiveSyncFailures = "wiki", "",
		before(time.Hour), nil, 4
	paused := integration()
	paused.Name, paused.Status = "zoo", "paused"
	item := deadItem()
	item.Details = &api.DeadItemDetails{
		Checkpoint: json.RawMessage("null"), Payload: json.RawMessage(`{"n":42}`),
		PayloadBytes: 8,
	}
	total := int64(250)
	s := newStub(t)
	s.on(api.IntegrationsList, "",
		api.IntegrationPage{Integrations: []api.Integration{integration(), stale}, Next: "wiki"},
		api.IntegrationPage{Integrations: []api.Integration{paused}},
		api.IntegrationPage{Integrations: []api.Integration{integration()}})
	s.on(api.IntegrationsShow, "", detailed())
	s.on(api.RunsList, "", api.RunPage{Runs: []api.Run{
		openRun("working", &api.Progress{Finished: 120, Done: 117, Skipped: 2, Dead: 1, Retrying: 3, Total: &total}),
		openRun("due", nil), closedRun("partial"),
	}})
	skipping := openRun("working", &api.Progress{
		Finished: 120, Done: 117, Skipped: 2, Dead: 1, Retrying: 3,
		Total: &total,
	})
	skipping.SkipReasons = []api.SkipReason{{Reason: "a draft\x1b[31m", Items: 1}, {Reason: "other", Items: 1}}
	skipping.Waiting = []api.WaitingItem{
		{EventType: "issue", ExternalID: "41", Error: "503\nService Unavailable", Tries: 2, Until: before(time.Second)},
		{EventType: "issue", ExternalID: "42", Error: "their maintenance", Until: before(-30 * time.Minute)},
		{Batch: 1, Tries: 1},
	}
	s.on(api.RunsShow, "", skipping)
	s.on(api.ItemsDead, "", api.DeadItemPage{Items: []api.DeadItem{deadItem()}})
	s.on(api.ItemsShow, "", item)
	s.on(api.CursorShow, "", api.Cursor{
		Integration: "docs", Cursor: json.RawMessage(`"2026-01-31T11:57:00Z"`),
		Version: 9, LastSyncedAt: before(time.Minute),
	})
	s.on(api.ProvidersList, "", api.ProviderList{Providers: []api.Provider{
		{
			Key: "github", Name: "GitHub", Scheduled: true, Incremental: true, DefaultInterval: "5m0s",
			Credentials: []api.Field{{Name: "token", Required: true, Rule: "required"}},
			Metadata:    []api.Field{{Name: "base_url"}, {Name: "repo", Required: true}},
		},
		{Key: "postmark", Name: "Postmark", Credentials: []api.Field{}, Metadata: []api.Field{}},
	}})
	s.on(api.CommandEndpoint(events.VerbSync), "", map[string]any{
		"accepted": true, "result": "started",
		"run_id": closedRun("").ID,
	})
	status := int32(503)
	request := api.Request{
		ID: "01a208a9-0000-7000-8000-000000000003", Integration: "docs", IntegrationID: integration().ID,
		Provider: "github", Attempt: 1, FirstID: "01a208a9-0000-7000-8000-000000000003",
		IdempotencyKey: "order 7", Method: "POST", Host: "api.example.com", Path: "/orders", Query: "token=[REDACTED]",
		Status: &status, FailureClass: "upstream", Error: "busy",
		UpstreamID: "up-1", DurationMS: 12.34, RequestBytes: 2, ResponseBytes: 70_000, CreatedAt: *before(time.Minute),
	}
	shown := request
	shown.Details = &api.RequestDetails{
		RequestHeader: json.RawMessage(`{"Authorization":["[REDACTED]"]}`), ResponseHeader: json.RawMessage("{}"),
		RequestBody: "{}", ResponseBody: "a long one", ResponseCut: true,
		Attempts: []api.RequestAttempt{{
			ID: request.ID, Attempt: 1, Status: &status, FailureClass: "upstream",
			Error: "busy",
		}, {
			ID: "01a208a9-0000-7000-8000-000000000004", Attempt: 2, FailureClass: "upstream",
			Error: "cut",
		}},
	}
	s.on(api.RequestsList, "", api.RequestPage{Requests: []api.Request{request}})
	s.on(api.RequestsShow, "", shown)
	s.on(api.RequestsKeys, "",
		api.KeyPage{Keys: []api.IdempotencyKey{{
			Integration: "docs", Key: "order 7", State: "unknown",
			RequestID: request.ID, Error: "cut", UpdatedAt: *before(time.Minute),
		}}})
	s.on(api.RequestsResolve, "", struct{}{})
	s.on(api.PruneRun, "",
		api.Pruned{Tables: []api.PrunedTable{
			{Table: "requests", Days: 90, Partitions: []string{"2026-01-01"}},
			{Table: "idempotency_keys", Days: 90, Rows: 12},
		}})
	for _, test := range []struct{ name, args string }{
		{"requests", "requests list --failed --since 2h"},
		{"requests json", "requests list --json"},
		{"request", "requests show 1"},
		{"keys", "requests keys"},
		{"resolve", "requests resolve k --integration docs --as failed --by ada"},
		{"prune", "prune --dry-run"},
		{"integrations", "integrations list"},
		{"integrations json", "integrations list --json"},
		{"integration", "integrations show docs"},
		{"integration json", "integrations show docs --json"},
		{"runs", "runs list"},
		{"runs json", "runs list --json --limit 2"},
		{"run", "runs show 1"},
		{"items", "items dead"},
		{"items json", "items dead --json"},
		{"item", "items show 1"},
		{"cursor", "cursor show docs"},
		{"cursor json", "cursor show docs --json"},
		{"providers", "providers list"},
		{"providers json", "providers list --json"},
		{"sync", "sync docs"},
		{"sync json", "sync docs --json"},
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

// TestTablesCutCells has long texts in a list: the id is whole, other cells are cut, and --json has all.
func TestTablesCutCells(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 1000)
	item := deadItem()
	item.ID, item.ExternalID, item.Error = long, long, long
	s := newStub(t)
	s.on(api.ItemsDead, "", api.DeadItemPage{Items: []api.DeadItem{item}})
	got := s.run(nil, "items", "dead")
	cells := strings.Fields(strings.Split(got.out, "\n")[1])
	if cells[0] != long || cells[4] != strings.Repeat("é", 59)+"…" ||
		cells[len(cells)-1] != strings.Repeat("é", 239)+"…" {
		t.Errorf("the cells are %q", cells)
	}
	if got := s.run(nil, "items", "dead", "--json"); strings.Count(got.out, long) != 3 {
		t.Error("--json lacks a part of it")
	}
}
