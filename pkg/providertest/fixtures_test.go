package providertest_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
)

// suiteOf is the suite of a provider without a flaw.
func suiteOf(upstream *notes) providertest.Suite {
	return providertest.Suite{
		Provider: flawed{state: &state{seen: map[string]bool{}}}, Key: "notes",
		Credentials: secrets{Key: apiKey, Secret: hookSecret}, Metadata: place{URL: upstream.URL}, Client: upstream.Client(),
	}
}

// TestDeliveriesOfDifferentLength has a fixture that makes another, shorter delivery each time.
func TestDeliveriesOfDifferentLength(t *testing.T) {
	t.Parallel()
	s, n := suiteOf(newNotes(t)), 50
	s.Webhook = func(testing.TB) *contracts.WebhookRequest {
		n--
		return signedDelivery([]byte(`{"account":"test","type":"note.changed","notes":["`+strings.Repeat("n", n)+`"]}`), "a delivery")
	}
	providertest.Run(t, s)
}

// TestDeliveriesOfOtherRecordsToo has a fixture whose deliveries are about another record first.
func TestDeliveriesOfOtherRecordsToo(t *testing.T) {
	t.Parallel()
	upstream := newNotes(t)
	s := suiteOf(upstream)
	s.Edit = func(_ testing.TB, item providertest.Item) { upstream.edit(item.ExternalID) }
	s.Delivery = func(t testing.TB, item providertest.Item) *contracts.WebhookRequest {
		t.Helper()
		return upstream.delivery(t, item.ExternalID, "n7")
	}
	providertest.Run(t, s)
}

// TestAnOverlap has a provider that starts a day before its cursor, for an upstream whose lists lag. All records of the fixture are of one hour.
func TestAnOverlap(t *testing.T) {
	t.Parallel()
	upstream := newNotes(t)
	s := suiteOf(upstream)
	s.Provider = flawed{flaw: "starts a day before the cursor", state: &state{seen: map[string]bool{}}}
	s.Change = func(testing.TB) string { upstream.edit("n3"); return "n3" }
	providertest.Run(t, s)
}

// TestTheSuiteEndsByItself has a provider that does not return: the suite says so before the timeout of the test binary ends everything.
func TestTheSuiteEndsByItself(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), program, "-test.run=^TestFlawed$", "-test.timeout=20s")
	run.Env = append(os.Environ(), "PROVIDERTEST_FLAW=waits for what does not come")
	out, err := run.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("the sync has not returned after")) || bytes.Contains(out, []byte("test timed out")) {
		t.Errorf("%v; want it to say that the sync has not returned:\n%s", err, out)
	}
}
