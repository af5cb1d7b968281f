package contracts_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestIntegrationReadsItsData(t *testing.T) {
	in := contracts.NewIntegration(contracts.IntegrationFields{
		Credentials: json.RawMessage(`{"token":"t","id":9007199254740993}`), Metadata: json.RawMessage(`null`),
	})
	credentials, err := in.Credentials()
	if diff := cmp.Diff(map[string]any{"token": "t", "id": json.Number("9007199254740993")}, credentials); err != nil ||
		diff != "" {
		t.Errorf("credentials, %v (-want +got):\n%s", err, diff)
	}
	metadata, err := in.Metadata()
	if diff := cmp.Diff(map[string]any{}, metadata); err != nil || diff != "" {
		t.Errorf("null metadata, %v (-want +got):\n%s", err, diff)
	}
	type typed struct {
		Token string `json:"token"`
		ID    int64  `json:"id"`
	}
	got, err := contracts.CredentialsOf[typed](in)
	if want := (typed{"t", 9007199254740993}); err != nil || got != want {
		t.Errorf("CredentialsOf = %+v, %v; want %+v", got, err, want)
	}
	empty := contracts.NewIntegration(contracts.IntegrationFields{})
	if got, err := contracts.MetadataOf[typed](empty); err != nil || got != (typed{}) {
		t.Errorf("MetadataOf nothing = %+v, %v", got, err)
	}
	if empty.HTTP() != http.DefaultClient || empty.Log() != slog.Default() {
		t.Error("an integration without a client and a logger has not the default ones")
	}
}

// everyPrint writes a value in all the ways that it could end up in a log.
func everyPrint(t *testing.T, value any) string {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&out, verb+"\n", value)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "value", value)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "value", value)
	return out.String()
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	const secret = "hunter2"
	expires := time.Date(2024, 3, 1, 10, 0, 0, 0, time.UTC)
	raw := json.RawMessage(`{"token":"` + secret + `"}`)
	in := contracts.NewIntegration(contracts.IntegrationFields{
		ID: "id", Provider: "notes", Name: "kitchen",
		Credentials: raw,
	})
	token := contracts.Token{AccessToken: secret, RefreshToken: secret, ExpiresAt: &expires}
	for name, value := range map[string]any{"integration": in, "token": token, "pointer to a token": &token} {
		printed := everyPrint(t, value)
		for _, form := range []string{
			secret, fmt.Sprintf("%x", secret), fmt.Sprint([]byte(secret))[1:10],
			"104 117 110",
		} {
			if strings.Contains(printed, form) {
				t.Errorf("%s prints %q:\n%s", name, form, printed)
			}
		}
	}
	if want := "notes/kitchen"; in.String() != want {
		t.Errorf("String = %q, want %q", in, want)
	}
	type other struct{ Token int }
	if _, err := contracts.CredentialsOf[other](in); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("credentials that do not fit: %v", err)
	}
}
