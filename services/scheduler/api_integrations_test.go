package scheduler_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/events"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	create := newShop("north")
	create.Owner, create.SyncInterval = "team-7", "15m"
	created := f.mustCreate(t, create)
	want := api.Integration{
		Provider: "shop", Name: "north", Owner: "team-7", Status: "active", Health: "healthy", SyncInterval: "15m0s", Version: 1,
		Details: &api.IntegrationDetails{Metadata: json.RawMessage(`{"shop":"north"}`), Credentials: []string{"token"}, Cursor: json.RawMessage("null")},
	}
	got := created
	got.ID, got.NextSyncAt, got.CreatedAt, got.UpdatedAt = "", nil, time.Time{}, time.Time{}
	got.Details.OpenRun = "" // opened at once, before or after the reply
	got.Details.Metadata = json.RawMessage(strings.ReplaceAll(string(got.Details.Metadata), " ", ""))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	ref, _ := f.event(t, events.IntegrationCreated)["integration"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"integration_id": created.ID, "provider": "shop", "name": "north", "owner": "team-7"}, ref); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	// It is due at once.
	f.event(t, events.RunStarted)
	shown, err := f.Integration(t.Context(), "north")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := uuid.Parse(shown.Details.OpenRun); err != nil {
		t.Errorf("no open run after creation: %v", err)
	}
	plain, version, err := f.store.Credentials(t.Context(), uuid.MustParse(created.ID), postgres.Access{})
	if err != nil || string(plain) != `{"token":"s3cret-token"}` || version != 1 {
		t.Errorf("stored credentials: %s, version %d, %v", plain, version, err)
	}
}

func TestCreateDefaults(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	create := newShop("")
	create.Paused = true
	created := f.mustCreate(t, create)
	if created.Name != "Shop" || created.Status != "paused" || created.Details.OpenRun != "" {
		t.Errorf("got %+v, want Shop, paused, without a run", created)
	}
	_, err := f.CreateIntegration(t.Context(), create)
	wantCode(t, err, api.Conflict, `name "Shop" already`)
	// A label that is no token gives way to the key, and what can't be synced is never due.
	created = f.mustCreate(t, api.CreateIntegration{Provider: "inbox"})
	if created.Name != "inbox" || created.NextSyncAt != nil || len(created.Details.Credentials) != 0 {
		t.Errorf("got %+v, want inbox without a next sync", created)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	tests := map[string]struct {
		change func(*api.CreateIntegration)
		part   string
	}{
		"missing credential": {func(c *api.CreateIntegration) { c.Credentials = nil }, "credentials.token is required"},
		"short credential":   {func(c *api.CreateIntegration) { c.Credentials = json.RawMessage(`{"token":"hunter2"}`) }, "credentials.token"},
		"unknown credential": {func(c *api.CreateIntegration) {
			c.Credentials = json.RawMessage(`{"token":"s3cret-token","tokn":"hunter2"}`)
		}, "credentials.tokn"},
		"credentials no object": {func(c *api.CreateIntegration) { c.Credentials = json.RawMessage(`["hunter2"]`) }, "must be a JSON object"},
		"missing metadata":      {func(c *api.CreateIntegration) { c.Metadata = json.RawMessage(`{}`) }, "metadata.shop is required"},
		"metadata type":         {func(c *api.CreateIntegration) { c.Metadata = json.RawMessage(`{"shop":"n","limit":"many"}`) }, "metadata.limit"},
		"zero byte":             {func(c *api.CreateIntegration) { c.Metadata = json.RawMessage(`{"shop":"a\u0000b"}`) }, "zero byte"},
		"half an emoji":         {func(c *api.CreateIntegration) { c.Metadata = json.RawMessage(`{"shop":"cut \ud83d"}`) }, "metadata.shop has"},
		"half an emoji in a credential": {func(c *api.CreateIntegration) {
			c.Credentials = json.RawMessage(`{"token":"hunter2 and \ud83d"}`)
		}, "credentials.token has"},
		"half an emoji in a name": {func(c *api.CreateIntegration) { c.Metadata = json.RawMessage(`{"shop":"n","\udc00":1}`) }, "metadata has"},
		"a byte of Latin-1": {func(c *api.CreateIntegration) {
			c.Metadata = json.RawMessage("{\"shop\":\"n\",\"in\":{\"of\":\"\xe8\"}}")
		}, "metadata.in.of has"},
		"a number beyond all": {func(c *api.CreateIntegration) { c.Metadata = json.RawMessage(`{"shop":"n","limit":1e999999}`) }, "metadata.limit has a number"},
		"large metadata": {func(c *api.CreateIntegration) {
			c.Metadata = json.RawMessage(`{"shop":"` + strings.Repeat("x", api.MaxObjectBytes) + `"}`)
		}, "at most"},
		"name with a dot":    {func(c *api.CreateIntegration) { c.Name = "a.b" }, `name is "a.b", which is not valid`},
		"name of nobody":     {func(c *api.CreateIntegration) { c.Name = "_" }, "not valid"},
		"name like an id":    {func(c *api.CreateIntegration) { c.Name = uuid.NewString() }, "looks like an id"},
		"interval no text":   {func(c *api.CreateIntegration) { c.SyncInterval = "often" }, "not a duration"},
		"interval short":     {func(c *api.CreateIntegration) { c.SyncInterval = "30s" }, "whole minutes"},
		"interval broken":    {func(c *api.CreateIntegration) { c.SyncInterval = "90s" }, "whole minutes"},
		"interval endless":   {func(c *api.CreateIntegration) { c.SyncInterval = "8761h" }, "sync_interval is 8761h0m0s, it must be at most 8760h0m0s"},
		"interval negative":  {func(c *api.CreateIntegration) { c.SyncInterval = "-5m" }, "whole minutes"},
		"owner of two lines": {func(c *api.CreateIntegration) { c.Owner = "a\nb" }, "  owner has"},
		"provider no token":  {func(c *api.CreateIntegration) { c.Provider = "a.*" }, "key of a provider"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			create := newShop("refused")
			test.change(&create)
			_, err := f.CreateIntegration(t.Context(), create)
			wantCode(t, err, api.Invalid, test.part)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a credential: %v", err)
			}
		})
	}
	page, err := f.Integrations(t.Context(), api.ListIntegrations{})
	if err != nil || len(page.Integrations) != 0 {
		t.Errorf("something was stored: %+v, %v", page, err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	create := newShop("north")
	create.Credentials = json.RawMessage(`{"token":"s3cret-token","region":"eu"}`)
	create.Paused = true
	created := f.mustCreate(t, create)
	owner, interval := "team-8", "1m"
	updated, err := f.UpdateIntegration(t.Context(), api.UpdateIntegration{
		Integration: "north", Owner: &owner, SyncInterval: &interval, By: "ada",
		Metadata: json.RawMessage(`{"limit":12345678901234567}`), Credentials: json.RawMessage(`{"token":"another-token","region":null}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if updated.Version <= created.Version {
		t.Errorf("version %d after %d: running services would not notice", updated.Version, created.Version)
	}
	if updated.Owner != owner || updated.SyncInterval != "1m0s" {
		t.Errorf("got %+v", updated)
	}
	metadata := strings.ReplaceAll(string(updated.Details.Metadata), " ", "")
	if !strings.Contains(metadata, `"shop":"north"`) || !strings.Contains(metadata, `"limit":12345678901234567`) {
		t.Errorf("metadata are %s", metadata)
	}
	plain, version, err := f.store.Credentials(t.Context(), uuid.MustParse(created.ID), postgres.Access{})
	if err != nil || string(plain) != `{"token":"another-token"}` || version < 2 {
		t.Errorf("stored credentials: %s, version %d, %v", plain, version, err)
	}
	changed := f.event(t, events.IntegrationChanged)
	if changed["what"] != "updated" || changed["by"] != "ada" {
		t.Errorf("event: %v", changed)
	}
	none := ""
	if updated, err = f.UpdateIntegration(t.Context(), api.UpdateIntegration{Integration: created.ID, SyncInterval: &none}); err != nil || updated.SyncInterval != "" {
		t.Errorf("interval %q, %v; want the default", updated.SyncInterval, err)
	}
}

func TestUpdateRefuses(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	before := f.mustCreate(t, newShop("north"))
	tests := map[string]struct {
		update api.UpdateIntegration
		code   api.Code
		part   string
	}{
		"unknown":            {api.UpdateIntegration{Integration: "south"}, api.NotFound, `"south"`},
		"other provider":     {api.UpdateIntegration{Integration: "north", Provider: "inbox"}, api.Invalid, `provider "shop"`},
		"required removed":   {api.UpdateIntegration{Integration: "north", Credentials: json.RawMessage(`{"token":null}`)}, api.Invalid, "credentials.token is required"},
		"metadata wrong":     {api.UpdateIntegration{Integration: "north", Metadata: json.RawMessage(`{"shop":7}`)}, api.Invalid, "metadata.shop"},
		"half an emoji":      {api.UpdateIntegration{Integration: "north", Metadata: json.RawMessage(`{"shop":"\ud83d"}`)}, api.Invalid, "metadata.shop has"},
		"zero byte":          {api.UpdateIntegration{Integration: "north", Credentials: json.RawMessage(`{"region":"\u0000"}`)}, api.Invalid, "credentials.region has"},
		"metadata no object": {api.UpdateIntegration{Integration: "north", Metadata: json.RawMessage(`7`)}, api.Invalid, "not a JSON object"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := f.UpdateIntegration(t.Context(), test.update)
			wantCode(t, err, test.code, test.part)
		})
	}
	after, err := f.Integration(t.Context(), "north")
	if err != nil || after.Version != before.Version {
		t.Errorf("version %d after %d, %v: a refused update changed something", after.Version, before.Version, err)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	f.mustCreate(t, newShop("north"))
	f.event(t, events.RunStarted)
	err := f.DeleteIntegration(t.Context(), api.DeleteIntegration{Integration: "north"})
	wantCode(t, err, api.Refused, "is open")
	if err := f.DeleteIntegration(t.Context(), api.DeleteIntegration{Integration: "north", Force: true, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	if ended, _ := f.event(t, events.RunFailed)["run"].(map[string]any); ended["state"] != "cancelled" {
		t.Errorf("the open run ended as %v", ended)
	}
	if changed := f.event(t, events.IntegrationChanged); changed["what"] != "deleted" || changed["by"] != "ada" {
		t.Errorf("event: %v", changed)
	}
	_, err = f.Integration(t.Context(), "north")
	wantCode(t, err, api.NotFound, `"north"`)
	err = f.DeleteIntegration(t.Context(), api.DeleteIntegration{Integration: "north"})
	wantCode(t, err, api.NotFound, `"north"`)
}

func TestPages(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	for _, name := range []string{"b", "a", "c"} {
		create := newShop(name)
		create.Paused = true
		f.mustCreate(t, create)
	}
	f.mustCreate(t, api.CreateIntegration{Provider: "inbox", Name: "d"})
	var names []string
	for after, pages := "", 0; pages == 0 || after != ""; pages++ {
		page, err := f.Integrations(t.Context(), api.ListIntegrations{Provider: "shop", After: after, Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Integrations {
			names = append(names, i.Name)
			if i.Details != nil {
				t.Errorf("a list has details: %+v", i)
			}
		}
		after = page.Next
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	_, err := f.Integrations(t.Context(), api.ListIntegrations{Limit: api.MaxPage + 1})
	wantCode(t, err, api.Invalid, "limit")
}

func TestCredentialsWhoseKeyIsLost(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	create := newShop("north")
	create.Paused = true
	f.mustCreate(t, create)
	if _, err := f.pool.Exec(t.Context(), "update credentials set key_id = 'gone'"); err != nil {
		t.Fatal(err)
	}
	shown, err := f.Integration(t.Context(), "north")
	if err != nil || !strings.Contains(shown.Details.CredentialsProblem, "gone") || len(shown.Details.Credentials) != 0 {
		t.Errorf("shown: %+v, %v", shown.Details, err)
	}
	_, err = f.UpdateIntegration(t.Context(), api.UpdateIntegration{Integration: "north", Credentials: json.RawMessage(`{"region":"eu"}`)})
	wantCode(t, err, api.Refused, "gone")
}
