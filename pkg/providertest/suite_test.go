package providertest_test

import (
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
)

// TestFlawed is not a test of its own: TestTheSuiteFindsFlaws runs it in another process, where it is to fail.
func TestFlawed(t *testing.T) {
	flaw, ok := os.LookupEnv("PROVIDERTEST_FLAW")
	if !ok {
		t.Skip("runs only as a part of TestTheSuiteFindsFlaws")
	}
	if scheme, ok := careless(flaw); ok {
		providertest.Run(t, scheme.suite())
		return
	}
	upstream := newNotes(t)
	metadata := place{URL: upstream.URL}
	if flaw == "a secret among the metadata" {
		metadata.Token = "a-token-in-clear"
	}
	provider := flawed{flaw: flaw, state: &state{seen: map[string]bool{}}}
	providertest.Run(t, providertest.Suite{
		Provider: provider, Key: "notes", Credentials: secrets{Key: apiKey, Secret: hookSecret}, Metadata: metadata, Client: upstream.Client(),
		Records: upstream.ids,
		Change:  func(testing.TB) string { upstream.edit("n3"); return "n3" },
		Edit:    func(_ testing.TB, item providertest.Item) { upstream.edit(item.ExternalID) },
		Delivery: func(t testing.TB, item providertest.Item) *contracts.WebhookRequest {
			return upstream.delivery(t, item.ExternalID)
		},
	})
}

// flaws are mistakes that authors make, and what the suite says of each. An empty text is of a mistake that the suite does not find.
func flaws() map[string]string {
	all := map[string]string{
		// What a provider says of itself.
		"no name":                              "Name is empty",
		"no rules":                             "the provider has no rules for them",
		"a rule for a field that is not there": "have no api_key, which the rules require",
		"credentials lose a field":             "fields are lost or renamed",
		"credentials by value":                 "it must be a pointer",
		"an interval of seconds":               "it must be whole minutes",
		"a budget of nothing":                  "DefaultRateLimit",
		"a secret among the metadata":          "the metadata have the field token, which is kept and shown in clear",
		// Where credentials go.
		"leaks to foreign hosts": "a request to https://foreign.example/x holds a credential",
		"refuses foreign hosts":  "it should leave it as it is",
		"secret in an error":     "an error holds a credential",
		"secret in a log":        "the log holds a credential",
		"secret in an event":     "holds a credential",
		"secret in a refusal":    "an error holds a credential",
		// Health.
		"always healthy":          "HealthCheck is healthy although the upstream answers 401",
		"never healthy":           "HealthCheck of a healthy upstream",
		"healthy at 500":          "HealthCheck is healthy although the upstream answers 500",
		"health hides a deferral": "which says nothing about health",
		// Enumeration.
		"ignores the next link":                        "names a next page, which the sync never asks for",
		"stops at a short page":                        "names a next page, which the sync never asks for",
		"stops at an empty page":                       "names a next page, which the sync never asks for",
		"begins at the second page":                    `the upstream has the record "n0", and the sync does not find it`,
		"drops the last of a page":                     "and the sync does not find it",
		"keeps the first page only for the first sync": "two syncs of the same upstream differ",
		"not repeatable":                               "two syncs of the same upstream differ",
		"one id for all":                               "was dispatched twice",
		"no ids":                                       `the sync finds a record "", which the upstream does not have`,
		"the text for the id":                          "which the upstream does not have",
		"ids with a prefix":                            "which the upstream does not have",
		"a map for an event":                           "by which no handler can be found",
		"raw JSON for an event":                        "by which no handler can be found",
		"a type without a name":                        "by which no handler can be found",
		"the first sync is from today":                 "without a cursor, SyncIncremental differs from Sync",
		"not incremental":                              "an incremental sync enumerates all 16 items again",
		"skips changes":                                `record "n3" was changed, but an incremental sync does not have it`,
		"only new ones are incremental":                `record "n3" was changed, but an incremental sync does not have it`,
		"a list that is not in the order of edits":     "passes over it",
		"pages of a list that edits reorder":           "another record is lost",
		"leaves bodies open":                           "bodies of answers are never closed",
		"dispatches later":                             "items were dispatched after their sync had returned",
		// Failures.
		"swallows failures":                "500: the sync ends as if it were complete",
		"swallows failures after page 1":   "500 at request 2 of 5: the sync ends as if it were complete",
		"swallows deferrals after page 1":  "429 with a Retry-After of 17s at request 2",
		"takes 404 for nothing":            "404: the sync ends as if it were complete",
		"takes 403 for nothing":            "403: the sync ends as if it were complete",
		"takes 500 for the end":            "but the upstream may be well the next time",
		"waits when it is refused":         "the sync asks to wait, but no wait mends it",
		"passes over cut bodies":           "cut body: the sync ends as if it were complete",
		"passes over what is not JSON":     "malformed: the sync ends as if it were complete",
		"indexes what may be empty":        "the sync panics at ",
		"asks for one page for ever":       "does it ask for the same page for ever?",
		"loses a deferral":                 "want a deferral of that time",
		"ends at a deferral":               "want a deferral of that time",
		"waits for a time of its own":      "want a deferral of that time",
		"waits by itself":                  "the sync waits by itself and holds its slot",
		"uses a client of its own":         "the sync ends as if it were complete",
		"does not pass the context on":     "the sync does not notice that its context is done",
		"goes on when cancelled":           "cancelled at the first item: 3 more were dispatched",
		"takes a refused item for the end": "want what Dispatch returned",
		"hides what Dispatch returned":     "want what Dispatch returned",
		"a cancelled sync is whole":        "while the upstream hangs: the sync returns <nil>",
		"hides the context's end":          "while the upstream hangs: the sync returns stopped",
		"a cancelled sync ends for good":   "want the context's error",
		// State. What is not guarded shows under the race detector alone.
		"counts without a lock":      map[bool]string{true: "race detected"}[raced],
		"remembers what it has seen": "two syncs of the same upstream differ",
		"keeps the list":             "an incremental sync enumerates all",
		// Checkpoints and cursors.
		"no checkpoint":                         "the checkpoints of the fixture reduce to no cursor",
		"the time of day for the checkpoint":    "two syncs of the same upstream differ",
		"the creation for the checkpoint":       "which is not forward",
		"a checkpoint of another form":          "ReduceCheckpoints",
		"a checkpoint of tomorrow":              "was changed, but an incremental sync does not have it",
		"the day for the checkpoint":            "which is not forward",
		"the reducer takes the last":            "in reverse order the cursor is",
		"the reducer takes the first":           "in reverse order the cursor is",
		"the reducer takes the time of day":     "it should stay where it is",
		"the reducer fails for nothing":         "ReduceCheckpoints of no checkpoints: no checkpoints",
		"the reducer panics for nothing":        "ReduceCheckpoints panics",
		"the reducer makes a cursor of nothing": "of nothing",
		"keys run backwards":                    "an older version would overwrite a newer one",
		"keys fail":                             "CheckpointKey",
		"the cursor may go back":                "the cursor would go back",
		"the cursor may not move":               "which is not forward",
		"CursorAt is now":                       "differs from a full one",
		"CursorAt is no time":                   "SyncIncremental",
	}
	maps.Copy(all, webhookFlaws())
	maps.Copy(all, flawsOfTokens())
	maps.Copy(all, flawsOfSync())
	return all
}

func TestTheSuiteFindsFlaws(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	try := func(t *testing.T, flaw string) (out string, failed bool) {
		t.Helper()
		run := exec.CommandContext(t.Context(), program, "-test.run=^TestFlawed$", "-test.timeout=2m")
		run.Env = append(os.Environ(), "PROVIDERTEST_FLAW="+flaw)
		text, err := run.CombinedOutput()
		return string(text), err != nil
	}
	if out, failed := try(t, ""); failed {
		t.Fatalf("the provider has no flaw, and the suite fails:\n%s", out)
	}
	missed, all := 0, flaws()
	for flaw, says := range all {
		if says == "" {
			missed++
		}
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			out, failed := try(t, flaw)
			if failed != (says != "") || !strings.Contains(out, says) {
				t.Errorf("failed: %t; want it to say %q:\n%s", failed, says, out)
			}
		})
	}
	if missed*20 > len(all) {
		t.Errorf("of %d flaws the suite does not find %d, more than a twentieth", len(all), missed)
	}
}
