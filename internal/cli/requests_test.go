package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/pkg/events"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	secretFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secretFile, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := deadItem().ID
	s := newStub(t)
	s.on(api.IntegrationsCreate, "github", detailed())
	s.on(api.IntegrationsUpdate, "github", detailed())
	s.on(api.IntegrationsDelete, "", struct{}{})
	s.on(api.IntegrationsShow, "", detailed())
	s.on(api.ItemsShow, "", deadItem())
	for _, verb := range events.Verbs() {
		s.on(api.CommandEndpoint(verb), "", map[string]any{"accepted": true, "result": "done"})
	}
	whose := integration().ID
	for _, test := range []struct {
		args  []string
		input string
		want  []string // the requests
	}{
		{
			[]string{
				"integrations", "create", "github", "--name", "docs", "--by", "ada", "--interval", "15m", "--paused",
				"--metadata", "repo=docs", "--metadata", "limit=10", "--metadata", "deep.on=true", "--metadata", `id="7"`, "--metadata", "text=a,b=c",
				"--credential", "user=7", "--credential", "key=@" + secretFile,
			},
			"",
			[]string{`{"name":"docs","metadata":{"deep":{"on":true},"id":"7","limit":10,"repo":"docs","text":"a,b=c"},"credentials":{"key":"from-file","user":"7"},"sync_interval":"15m0s","paused":true,"by":"ada"}`},
		},
		{
			[]string{"integrations", "create", "github", "--by", "ada", "--credential", "token=-"},
			"from-input\n",
			[]string{`{"credentials":{"token":"from-input"},"by":"ada"}`},
		},
		{
			[]string{"integrations", "create", "github", "--by", "ada", "--credentials-file", "-"},
			`{"token":"t"}`,
			[]string{`{"credentials":{"token":"t"},"by":"ada"}`},
		},
		{
			[]string{"integrations", "update", "docs", "--by", "ada", "--metadata", "limit=null", "--interval", "default", "--owner", ""},
			"",
			[]string{`{"integration":"docs"}`, `{"integration":"docs","owner":"","metadata":{"limit":null},"sync_interval":"","by":"ada"}`},
		},
		{[]string{"integrations", "delete", "docs", "--force", "--by", "ada"}, "", []string{`{"integration":"docs","force":true,"by":"ada"}`}},
		{[]string{"sync", "docs", "--full"}, "", []string{`{"integration":"docs","mode":"full"}`}},
		{[]string{"cancel", "docs", "--reason", "why", "--by", "ada"}, "", []string{`{"integration":"docs","reason":"why","by":"ada"}`}},
		{[]string{"pause", "docs", "--by", "ada"}, "", []string{`{"integration":"docs","by":"ada"}`}},
		{[]string{"resume", "docs", "--by", "ada"}, "", []string{`{"integration":"docs","by":"ada"}`}},
		{[]string{"integrations", "enable", "docs", "--by", "ada", "--reason", "mended"}, "", []string{`{"integration":"docs","by":"ada","reason":"mended"}`}},
		{[]string{"items", "retry", id}, "", []string{`{"id":"` + id + `"}`, `{"integration":"` + whose + `","item":"` + id + `"}`}},
		{[]string{"items", "retry", "--all", "--integration", "docs"}, "", []string{`{"all":true,"integration":"docs"}`}},
		{
			[]string{"items", "skip", id, "--reason", "why", "--by", "ada"},
			"",
			[]string{`{"id":"` + id + `"}`, `{"integration":"` + whose + `","item":"` + id + `","reason":"why","by":"ada"}`},
		},
		{
			[]string{"cursor", "reset", "docs", "--to", `{"at":12345678901234567890}`, "--cancel", "--by", "ada"},
			"",
			[]string{`{"integration":"docs","to":{"at":12345678901234567890},"cancel":true,"by":"ada"}`},
		},
		{[]string{"cursor", "reset", "docs", "--none", "--by", "ada"}, "", []string{`{"integration":"docs","none":true,"by":"ada"}`}},
	} {
		t.Run(strings.Join(test.args[:2], " "), func(t *testing.T) {
			got := s.run(func(env *cli.Env) { env.In = strings.NewReader(test.input) }, test.args...)
			if got.code != cli.ExitOK {
				t.Fatalf("exit code %d: %s", got.code, got.err)
			}
			for _, want := range test.want {
				if diff := cmp.Diff(decoded(t, want), decoded(t, s.nextAsked())); diff != "" {
					t.Errorf("request (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

func TestUsage(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	for name, test := range map[string]struct {
		args []string
		part string
	}{
		"no equals sign":    {[]string{"integrations", "create", "github", "--credential", "hunter2"}, "KEY=VALUE"},
		"no key":            {[]string{"integrations", "create", "github", "--by", "ada", "--credential", "=hunter2"}, "KEY=VALUE"},
		"twice":             {[]string{"integrations", "create", "github", "--metadata", "a=1", "--metadata", "a=2"}, "given twice"},
		"field and object":  {[]string{"integrations", "create", "github", "--metadata", "a=1", "--metadata", "a.b=2"}, "given twice"},
		"empty part":        {[]string{"integrations", "create", "github", "--metadata", "a..b=2"}, "is empty"},
		"two from input":    {[]string{"integrations", "create", "github", "--by", "ada", "--credential", "a=-", "--credential", "b=-"}, "one credential only"},
		"a secret":          {[]string{"integrations", "create", "github", "--by", "ada", "--credential", "api_Key=hunter2"}, "api_Key=@FILE"},
		"no such file":      {[]string{"integrations", "create", "github", "--by", "ada", "--credential", "a=@/no/such/file"}, "--credential a: open /no/such/file: no such file"},
		"no metadata file":  {[]string{"integrations", "create", "github", "--metadata-file", "/no/such/file"}, "--metadata-file: open"},
		"a reason of none":  {[]string{"items", "skip", "7", "--by", "ada", "--reason", " "}, "--reason"},
		"drop for nothing":  {[]string{"outbox", "drop", "7", "--by", "ada", "--reason", ""}, "--reason"},
		"since when":        {[]string{"requests", "list", "--since", "yesterday"}, "neither a time"},
		"audit of nothing":  {[]string{"secrets", "audit", "--limit", "-1"}, "--limit"},
		"budget of nothing": {[]string{"rate-limit", "set", "docs", "--limit", "-1", "--window", "1h"}, "--limit"},
		"no window":         {[]string{"rate-limit", "set", "docs", "--limit", "1", "--window", "0s"}, "--window"},
		"file of no object": {[]string{"integrations", "create", "github", "--metadata-file", "/dev/null"}, "JSON object"},
		"nothing to change": {[]string{"integrations", "update", "docs"}, "nothing to change"},
		"retry nothing":     {[]string{"items", "retry"}, "give an item's id"},
		"retry both":        {[]string{"items", "retry", "7", "--all", "--integration", "docs"}, "give an item's id"},
		"retry all of what": {[]string{"items", "retry", "--all"}, "give an item's id"},
		"skip silently":     {[]string{"items", "skip", "7", "--by", "ada"}, "--reason"},
		"skip nothing":      {[]string{"items", "skip", "--by", "ada"}, "missing <id>, and missing flags: --reason=TEXT"},
		"resolve nothing":   {[]string{"requests", "resolve", "--integration", "docs"}, "missing <key>, and missing flags: --as"},
		"status of nothing": {[]string{"webhooks", "list", "--status", "lost"}, `must be one of pending, processing, processed, ignored, failed, skipped, and is "lost"`},
		"class of nothing":  {[]string{"requests", "list", "--class", "lost"}, `must be one of upstream, throttle, client, unknown, and is "lost"`},
		"reset to nothing":  {[]string{"cursor", "reset", "docs"}, "--to"},
		"reset to both":     {[]string{"cursor", "reset", "docs", "--to", "1", "--none"}, "can't be used together"},
		"reset to no JSON":  {[]string{"cursor", "reset", "docs", "--to", "2026-01-31"}, "needs its quotes"},
		"limit":             {[]string{"runs", "list", "--limit", "0"}, "--limit"},
		"unknown":           {[]string{"fly"}, "unexpected argument"},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.run(nil, test.args...)
			if got.code != cli.ExitUsage || !strings.Contains(got.err, test.part) {
				t.Errorf("exit code %d, %q; want %d and %q", got.code, got.err, cli.ExitUsage, test.part)
			}
			if strings.Contains(got.err, "hunter2") {
				t.Errorf("the error shows a credential: %s", got.err)
			}
		})
	}
}

func TestPrompt(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.on(api.ProvidersList, "", api.ProviderList{Providers: []api.Provider{{
		Key: "github", Name: "GitHub", Credentials: []api.Field{{Name: "given", Required: true}, {Name: "region"}, {Name: "token", Required: true}},
	}}})
	s.on(api.IntegrationsCreate, "github", detailed())
	var labels []string
	got := s.run(func(env *cli.Env) {
		env.Prompt = func(label string) (string, error) {
			labels = append(labels, label)
			return "typed", nil
		}
	}, "integrations", "create", "github", "--by", "ada", "--credential", "given=x")
	if got.code != cli.ExitOK {
		t.Fatalf("got %+v", got)
	}
	if diff := cmp.Diff([]string{"GitHub token"}, labels); diff != "" {
		t.Errorf("prompts (-want +got):\n%s", diff)
	}
	_ = s.nextAsked()
	if asked := s.nextAsked(); asked != `{"credentials":{"given":"x","token":"typed"},"by":"ada"}` {
		t.Errorf("request: %s", asked)
	}
}
