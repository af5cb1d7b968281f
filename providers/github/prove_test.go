package github_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// prove skips what fetches packages, unless it is asked for.
func prove(t *testing.T) {
	t.Helper()
	if os.Getenv("TRIBUTARY_PROVE") != "1" {
		t.Skip("fetches packages of npm: set TRIBUTARY_PROVE=1, or run make prove")
	}
}

// TestRealPayloads serves the issues and comments that GitHub itself has sent, and wants each back field by field.
func TestRealPayloads(t *testing.T) {
	prove(t)
	dir := t.TempDir()
	issues, comments := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for _, name := range []string{"@octokit/webhooks-examples@7.6.1", "@octokit/fixtures@23.1.2"} {
		unpack(t, dir, name, func(file string, raw []byte) {
			if !strings.HasSuffix(file, ".json") {
				return
			}
			var value any
			if err := json.Unmarshal(raw, &value); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			collect(t, value, issues, comments)
		})
	}
	t.Logf("%d different issues, %d different comments", len(issues), len(comments))
	if len(issues) < 20 || len(comments) < 5 {
		t.Fatal("too few: the packages have another form than expected")
	}
	proved := 0
	for _, layer := range layers(t, issues, comments) {
		proved += layer.prove(t)
	}
	t.Logf("%d records came out as they went in", proved)
}

// collect finds the issues and comments within a value, each distinct one once.
func collect(t *testing.T, value any, issues, comments map[string]json.RawMessage) {
	t.Helper()
	switch v := value.(type) {
	case []any:
		for _, inner := range v {
			collect(t, inner, issues, comments)
		}
	case map[string]any:
		_, hasNumber := v["number"].(float64)
		_, hasUpdate := v["updated_at"].(string)
		_, hasEvents := v["events_url"].(string)
		link, hasIssue := v["issue_url"].(string)
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case hasUpdate && hasNumber && hasEvents && v["id"] != nil:
			issues[string(raw)] = raw
		case hasUpdate && hasIssue && v["id"] != nil && strings.Contains(link, "/issues/"):
			comments[string(raw)] = raw
		}
		for _, inner := range v {
			collect(t, inner, issues, comments)
		}
	}
}

// layer is a set of records that can stand in one repository.
type layer struct {
	issues, comments map[string]json.RawMessage
	ids              map[string]bool
}

// layers distributes records so that no number or id is twice in one layer.
func layers(t *testing.T, issues, comments map[string]json.RawMessage) []layer {
	t.Helper()
	var all []layer
	add := func(raw json.RawMessage, isComment bool) {
		var h struct{ ID, Number json.Number }
		if err := json.Unmarshal(raw, &h); err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("%t id %s", isComment, h.ID)
		number := fmt.Sprintf("%t number %s", isComment, h.Number)
		if isComment {
			number = id
		}
		i := 0
		for ; i < len(all) && (all[i].ids[id] || all[i].ids[number]); i++ {
		}
		if i == len(all) {
			all = append(all, layer{issues: map[string]json.RawMessage{}, comments: map[string]json.RawMessage{}, ids: map[string]bool{}})
		}
		all[i].ids[id], all[i].ids[number] = true, true
		if isComment {
			all[i].comments[h.ID.String()] = raw
		} else {
			all[i].issues[h.Number.String()] = raw
		}
	}
	for _, raw := range issues {
		add(raw, false)
	}
	for _, raw := range comments {
		add(raw, true)
	}
	return all
}

func (l layer) prove(t *testing.T) int {
	t.Helper()
	u := start(t, upstream.Options{MaxPerPage: 3})
	want := map[string]any{}
	for id, raw := range l.issues {
		if err := u.AddRaw(raw, false); err != nil {
			t.Fatal(err)
		}
		if fields := decoded(t, raw); fields["pull_request"] == nil {
			want["github.Issue "+id] = fields
		}
	}
	for id, raw := range l.comments {
		if err := u.AddRaw(raw, true); err != nil {
			t.Fatal(err)
		}
		fields := decoded(t, raw)
		if html, _ := fields["html_url"].(string); !strings.Contains(html, "/pull/") {
			want["github.IssueComment "+id] = fields
		}
	}
	session := &providertest.Session{}
	if err := (github.Provider{}).Sync(t.Context(), integration(t, u), session); err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
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

// unpack fetches a package with npm and visits its files.
func unpack(t *testing.T, dir, name string, visit func(file string, raw []byte)) {
	t.Helper()
	pack := exec.CommandContext(t.Context(), "npm", "pack", "--silent", "--pack-destination", dir, name)
	pack.Dir = dir
	out, err := pack.Output()
	if err != nil {
		t.Fatalf("npm pack %s: %v", name, err)
	}
	lines := strings.Fields(string(out))
	if len(lines) == 0 {
		t.Fatalf("npm pack %s printed no file name", name)
	}
	file, err := os.Open(filepath.Join(dir, path.Base(lines[len(lines)-1])))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		visit(header.Name, raw)
	}
}
