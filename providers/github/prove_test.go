package github_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/octokit"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// prove skips what fetches packages, unless it is asked for.
func prove(t *testing.T) {
	t.Helper()
	if !octokit.Asked() {
		t.Skip(octokit.Unasked)
	}
}

// TestRealPayloads serves the issues and comments that GitHub itself has sent, and wants each back field by field.
func TestRealPayloads(t *testing.T) {
	prove(t)
	repositories, err := octokit.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	issues, comments, proved := 0, 0, 0
	for _, r := range repositories {
		issues += len(r.Issues)
		comments += len(r.Comments)
		proved += proveOne(t, r)
	}
	t.Logf("of %d issues and comments, %d are not of pull requests: all of them came out as they went in", issues+comments, proved)
}

// proveOne returns how many records came out.
func proveOne(t *testing.T, r octokit.Repository) int {
	t.Helper()
	u := start(t, upstream.Options{MaxPerPage: 3})
	if err := r.Serve(u); err != nil {
		t.Fatal(err)
	}
	items, err := r.Items()
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]any{}, map[string]any{}
	for id, raw := range items {
		want[id] = decoded(t, raw)
	}
	session := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), integration(t, u), session); err != nil {
		t.Fatal(err)
	}
	for i, event := range session.Events() {
		item := session.Items()[i]
		got[item.Event+" "+item.ExternalID] = decoded(t, []byte(item.Payload))
		typedAgrees(t, event, decoded(t, []byte(item.Payload)))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-GitHub's +ours):\n%s", d)
	}
	return len(got)
}

// typedAgrees compares the typed fields of an event with those of its payload: a field that is null or missing there is zero here.
func typedAgrees(t *testing.T, event any, payload map[string]any) {
	t.Helper()
	v := reflect.ValueOf(event)
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		if name == "-" {
			continue
		}
		if sent := payload[name]; (sent == nil) != v.Field(i).IsZero() && !isEmpty(sent) {
			t.Errorf("%T.%s is %v, but the payload has %v", event, v.Type().Field(i).Name, v.Field(i), sent)
		}
	}
}

func isEmpty(value any) bool {
	list, isList := value.([]any)
	return value == "" || value == false || value == json.Number("0") || isList && len(list) == 0
}

func decoded(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		t.Fatal(err)
	}
	return fields
}
