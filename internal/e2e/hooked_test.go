package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	demo "github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/pkg/webhooks"
	"github.com/tributaryhq/tributary/providers/github"
)

const hookSecret = "a secret of both sides"

// hooked is a provider whose upstream pushes entries; each goes to the application's handler.
type hooked struct {
	contracts.TypedCredentials[hookedCredentials]
	contracts.TypedMetadata[feedMetadata]
	contracts.WebhookDefaults
	contracts.MaxNumber
}

type hookedCredentials struct{ webhooks.Secrets }

func (hooked) Name() string                           { return "Hooked" }
func (hooked) DefaultSyncInterval() time.Duration     { return time.Hour }
func (hooked) DefaultRateLimit() *contracts.RateLimit { return nil }

func (hooked) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return feed{}.Sync(ctx, in, session)
}

func (hooked) VerifyWebhookSignature(_ context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
	credentials, err := contracts.CredentialsOf[hookedCredentials](in)
	if err != nil {
		return err
	}
	return webhooks.GitHub().Verify(req, credentials.WebhookSecrets()...)
}

func (hooked) WebhookDeliveryID(req *contracts.WebhookRequest) (string, bool) {
	id := req.Header.Get("X-Delivery")
	return id, id != ""
}

func (hooked) HandleWebhook(ctx context.Context, _ *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	var e entry
	if err := json.Unmarshal(req.Body, &e); err != nil {
		return nil, contracts.Permanent(err)
	}
	return map[string]string{"entry": e.ID}, contracts.Dispatch(ctx, e, e.Seq, e.ID)
}

// ordered is hooked, and keeps the order of what is pushed about one entry.
type ordered struct{ hooked }

func (ordered) WebhookOrderingKey(req *contracts.WebhookRequest) (string, bool) {
	var e entry
	err := json.Unmarshal(req.Body, &e)
	return e.ID, err == nil
}

// quiet is hooked, with events for which the application has no handler.
type quiet struct{ hooked }

type quietEntry struct{ entry }

func (quietEntry) EventType() string { return "quiet.Entry" }

func (quiet) HandleWebhook(ctx context.Context, _ *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	var e entry
	if err := json.Unmarshal(req.Body, &e); err != nil {
		return nil, contracts.Permanent(err)
	}
	return nil, contracts.Dispatch(ctx, quietEntry{e}, e.Seq, e.ID)
}

// ingress is a running ingress and where it listens.
type ingress struct {
	*process
	url string
}

// startIngress starts one; who takes over from it listens at the same address.
func (w *world) startIngress(env ...string) *ingress {
	w.t.Helper()
	addr := "127.0.0.1:" + freePort(w.t)
	w.env = append(w.env, "TRIBUTARY_WEBHOOK_ADDR="+addr)
	return &ingress{process: w.start("webhook-ingress", env...), url: "http://" + addr}
}

// pushUntilTaken sends a delivery as a patient sender does, again and again until it is answered with 2xx. It reports whether it was.
func (w *world) pushUntilTaken(url, delivery string, e entry) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if code, _ := w.push(url, delivery, e); code == http.StatusOK {
			return true
		}
		select {
		case <-w.t.Context().Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// createHooked makes an integration "one" that takes webhooks and is never synced by itself.
func (w *world) createHooked(provider string) uuid.UUID {
	w.t.Helper()
	now := time.Now()
	id := postgres.NewID()
	metadata, err := json.Marshal(feedMetadata{URL: w.upstream.server.URL})
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.store.InTx(w.t.Context(), func(tx *postgres.Tx) error {
		if _, err := tx.IntegrationInsert(w.t.Context(), dbsqlc.IntegrationInsertParams{ID: id, Provider: provider, Name: "one", Metadata: metadata, Now: now}); err != nil {
			return err
		}
		_, err := w.store.PutCredentials(w.t.Context(), tx, id, json.RawMessage(`{"webhook_secret":"`+hookSecret+`"}`), 0, postgres.Access{Who: "test", Why: "set up", At: now})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// push sends a signed delivery, and returns the code and the status that it was answered with; 0 when there was no answer.
func (w *world) push(url, delivery string, e entry) (int, string) {
	body, err := json.Marshal(e)
	if err != nil {
		return 0, err.Error()
	}
	return send(w.t.Context(), url, delivery, body, signHook(hookSecret, body))
}

func signHook(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func send(ctx context.Context, url, delivery string, body []byte, signature string) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("X-Delivery", delivery)
	req.Header.Set("X-Hub-Signature-256", signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	var answer struct{ Status, Error string }
	_ = json.Unmarshal(text, &answer)
	return resp.StatusCode, cmp.Or(answer.Status, answer.Error)
}

// webhooks lists the integration's deliveries, newest first.
func (w *world) webhooks(id uuid.UUID) []*dbsqlc.WebhookListRow {
	w.t.Helper()
	rows, err := w.store.WebhookList(w.t.Context(), dbsqlc.WebhookListParams{IntegrationID: &id, Most: 100_000})
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// awaitWebhooks waits until as many deliveries have come to a status.
func (w *world) awaitWebhooks(id uuid.UUID, status string, n int) {
	w.t.Helper()
	w.await("webhooks to be "+status, func() bool {
		found := 0
		for _, row := range w.webhooks(id) {
			if row.Status == status {
				found++
			}
		}
		return found == n
	})
}

// createDemo makes an integration of GitHub's provider with a demo upstream, due now, whose webhooks are signed with hookSecret.
func (w *world) createDemo(name string, u *demo.Upstream) uuid.UUID {
	w.t.Helper()
	now := time.Now()
	id := postgres.NewID()
	metadata, err := json.Marshal(github.Metadata{Owner: u.Owner(), Repo: u.Repo(), BaseURL: u.URL()})
	if err != nil {
		w.t.Fatal(err)
	}
	credentials, err := json.Marshal(github.Credentials{Token: u.Token(), Secrets: webhooks.Secrets{WebhookSecret: hookSecret}})
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.store.InTx(w.t.Context(), func(tx *postgres.Tx) error {
		if _, err := tx.IntegrationInsert(w.t.Context(), dbsqlc.IntegrationInsertParams{
			ID: id, Provider: "github", Name: name, Metadata: metadata, NextSyncAt: &now, Now: now,
		}); err != nil {
			return err
		}
		_, err := w.store.PutCredentials(w.t.Context(), tx, id, credentials, 0, postgres.Access{Who: "test", Why: "set up", At: now})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}
