package scheduler_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	f := start(t)
	_, err := f.Integrations(t.Context(), api.ListIntegrations{})
	wantCode(t, err, api.Unavailable, "no scheduler answers on ")
	_, err = f.Providers(t.Context())
	wantCode(t, err, api.Unavailable, "no scheduler answers on ")
	_, err = f.CreateIntegration(t.Context(), newShop("north"))
	wantCode(t, err, api.Unavailable, "no scheduler answers on ")
}

func TestProvidersOfTwoBinaries(t *testing.T) {
	t.Parallel()
	f := start(t, map[string]contracts.Provider{"shop": shop{}}, map[string]contracts.Provider{"inbox": inbox{}})
	providers, err := f.Providers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []api.Provider{
		{Key: "inbox", Name: "In box", Credentials: []api.Field{}, Metadata: []api.Field{}},
		{
			Key: "shop", Name: "Shop", Scheduled: true, DefaultInterval: "5m0s",
			Credentials: []api.Field{{Name: "region"}, {Name: "token", Required: true, Rule: "required,min=8"}},
			Metadata:    []api.Field{{Name: "limit"}, {Name: "shop", Required: true, Rule: "required"}},
		},
	}
	if diff := cmp.Diff(want, providers); diff != "" {
		t.Errorf("providers (-want +got):\n%s", diff)
	}
	// Each binary writes its own, and any answers the rest.
	f.mustCreate(t, newShop("north"))
	f.mustCreate(t, api.CreateIntegration{Provider: "inbox", Name: "south"})
	create := newShop("acme")
	create.Provider = "acme"
	_, err = f.CreateIntegration(t.Context(), create)
	wantCode(t, err, api.NotFound, `the provider "acme"`)
	wantCode(t, err, api.NotFound, "inbox, shop")
}

func TestCommandsAndRuns(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	create := newShop("north")
	create.Paused = true
	f.mustCreate(t, create)
	_, err := f.Command(t.Context(), events.VerbSync, &eventsv1.Command{Integration: "north"})
	wantCode(t, err, api.Refused, "paused")
	if _, err := f.Command(t.Context(), events.VerbResume, &eventsv1.Command{Integration: "north"}); err != nil {
		t.Fatal(err)
	}
	reply, err := f.Command(t.Context(), events.VerbSync, &eventsv1.Command{Integration: "north", Mode: "full"})
	if err != nil || !reply.GetAccepted() {
		t.Fatalf("sync: %v, %v", reply, err)
	}
	run, err := f.Run(t.Context(), reply.GetRunId())
	if err != nil || !run.Open() || run.State != "due" || run.Progress == nil {
		t.Fatalf("run: %+v, %v", run, err)
	}
	page, err := f.Runs(t.Context(), api.ListRuns{Integration: "north", Open: true})
	if err != nil || len(page.Runs) != 1 || page.Runs[0].ID != run.ID || page.Runs[0].Integration != "north" {
		t.Errorf("runs: %+v, %v", page, err)
	}
	to := `"2026-01-31T00:00:00Z"`
	_, err = f.Command(t.Context(), events.VerbResetCursor, &eventsv1.Command{Integration: "north", To: &to})
	wantCode(t, err, api.Refused, "is open")
	if _, err := f.Command(t.Context(), events.VerbResetCursor, &eventsv1.Command{Integration: "north", To: &to, Cancel: true}); err != nil {
		t.Fatal(err)
	}
	cursor, err := f.Cursor(t.Context(), "north")
	if err != nil || cursor.Version < 1 || cursor.Integration != "north" {
		t.Errorf("cursor: %+v, %v", cursor, err)
	}
	stored, err := f.store.IntegrationGetByName(t.Context(), "north")
	if err != nil || stored.SyncCursor == nil || !sameJSON(t, *stored.SyncCursor, to) || !sameJSON(t, string(cursor.Cursor), to) {
		t.Errorf("the cursor is stored as %v and shown as %s, want %s (%v)", stored.SyncCursor, cursor.Cursor, to, err)
	}
	if run, err = f.Run(t.Context(), run.ID); err != nil || run.State != "cancelled" || run.Progress != nil {
		t.Errorf("run after a cancel: %+v, %v", run, err)
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	values := make([]any, 2)
	for i, text := range []string{a, b} {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&values[i]); err != nil {
			t.Fatal(err)
		}
	}
	return cmp.Equal(values[0], values[1])
}

func TestCommandForms(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	create := newShop("north")
	create.Paused = true
	f.mustCreate(t, create)
	subject := api.CommandEndpoint(events.VerbPause).Subject("")
	tests := map[string]struct{ body, code, part string }{
		"empty":         {"", "invalid", "say which integration"},
		"no object":     {"[]", "invalid", "the JSON object"},
		"unknown field": {`{"integration":"north","fast":true}`, "invalid", "fast"},
		"other verb's":  {`{"integration":"north","mode":"full"}`, "invalid", "mode belongs to sync"},
		"unknown":       {`{"integration":"south"}`, "not_found", "south"},
		"done":          {`{"integration":"north"}`, "", "paused already"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			msg, err := f.nc.Request(subject, []byte(test.body), 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if code := msg.Header.Get("Nats-Service-Error-Code"); code != test.code || !strings.Contains(string(msg.Data), test.part) {
				t.Errorf("got %q %s, want %q with %q in it", code, msg.Data, test.code, test.part)
			}
		})
	}
}

func TestDeadItems(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	created := f.mustCreate(t, newShop("north"))
	f.event(t, events.RunStarted)
	shown, err := f.Integration(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	ids := f.insertDead(t, created.ID, shown.Details.OpenRun, `{"n":1,"html":"<b>"}`, "not JSON", `"`+strings.Repeat("x", 2<<20)+`"`)
	var listed []string
	for before, pages := "", 0; pages == 0 || before != ""; pages++ {
		page, err := f.DeadItems(t.Context(), api.ListDeadItems{Integration: "north", Before: before, Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			listed = append(listed, item.ID)
			if len(item.Error) > 400 || item.Details != nil {
				t.Errorf("a list has a long error or details: %+v", item)
			}
		}
		before = page.Next
	}
	if diff := cmp.Diff([]string{ids[2], ids[1], ids[0]}, listed); diff != "" {
		t.Errorf("dead items (-want +got):\n%s", diff)
	}
	for i, want := range []api.DeadItemDetails{
		{Checkpoint: json.RawMessage(`"2026-01-31T00:00:00Z"`), Payload: json.RawMessage(`{"n":1,"html":"<b>"}`), PayloadBytes: 20},
		{Checkpoint: json.RawMessage(`"2026-01-31T00:00:00Z"`), Payload: json.RawMessage("null"), PayloadBytes: 8},
		{Checkpoint: json.RawMessage(`"2026-01-31T00:00:00Z"`), Payload: json.RawMessage("null"), PayloadBytes: 2<<20 + 2},
	} {
		item, err := f.DeadItem(t.Context(), ids[i])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, *item.Details); diff != "" || len(item.Error) != 1000 {
			t.Errorf("item %d: error of %d bytes, details (-want +got):\n%s", i, len(item.Error), diff)
		}
	}
	if _, err := f.Command(t.Context(), events.VerbSkip, &eventsv1.Command{Integration: "north", Item: ids[1], Reason: "a test", By: "ada"}); err != nil {
		t.Fatal(err)
	}
	item, err := f.DeadItem(t.Context(), ids[1])
	if err != nil || item.Integration != "north" || item.Status != "skipped" || item.ResolvedBy != "ada" || item.Note != "a test" {
		t.Errorf("skipped item: %+v, %v", item, err)
	}
	_, err = f.DeadItem(t.Context(), uuid.NewString())
	wantCode(t, err, api.NotFound, "dead item")
	_, err = f.DeadItem(t.Context(), "7")
	wantCode(t, err, api.NotFound, "items dead")
}

func (f *fixture) insertDead(t *testing.T, integration, run string, payloads ...string) []string {
	t.Helper()
	ids := make([]string, 0, len(payloads))
	for i, payload := range payloads {
		id := postgres.NewID()
		_, err := f.pool.Exec(t.Context(), `
			insert into dead_items (id, integration_id, provider, run_id, attempt, batch, item_index, event_type, external_id, payload, checkpoint,
			                        reason, error, tries, hop, created_at, updated_at)
			values ($1, $2, 'shop', $3, 1, 0, $4, 'order', 'o', $5, '"2026-01-31T00:00:00Z"', 'tries used up', $6, 5, 4, $7, $7)`,
			id, integration, run, i, []byte(payload), strings.Repeat("e", 1000), time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id.String())
	}
	return ids
}

func TestPanicBecomesInternal(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	other := platform.Defaults()
	other.NATS, other.Pool, other.Providers = f.nc, f.pool, map[string]contracts.Provider{"broken": broken{}}
	built, err := platform.New(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	run(t, built, platform.SchedulerService)
	await(t, "the scheduler with the provider", func() bool {
		_, err = f.CreateIntegration(t.Context(), api.CreateIntegration{Provider: "broken"})
		return api.CodeOf(err) == api.Internal
	})
	if strings.Contains(err.Error(), "nobody knows") {
		t.Errorf("the error shows the panic: %v", err)
	}
	// The same endpoint still answers.
	_, err = f.CreateIntegration(t.Context(), api.CreateIntegration{Provider: "broken", Name: "named"})
	if err != nil {
		t.Errorf("after a panic: %v", err)
	}
}
