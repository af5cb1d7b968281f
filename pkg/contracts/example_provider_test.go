package contracts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Note is a record of the upstream. Its Go type picks the handlers.
type Note struct {
	ID        string    `json:"id"`
	Text      string    `json:"text"`
	UpdatedAt time.Time `json:"updated_at"`
}

// NotesSettings are the metadata of an integration; the tags are their rules.
type NotesSettings struct {
	BaseURL string `json:"base_url" validate:"required,url"`
}

// Notes is a whole provider: no credentials, typed metadata, a sync whose cursor is the latest timestamp.
type Notes struct {
	contracts.NoCredentials
	contracts.TypedMetadata[NotesSettings]
	contracts.MaxTime
}

func (Notes) Name() string                           { return "Notes" }
func (Notes) DefaultSyncInterval() time.Duration     { return 5 * time.Minute }
func (Notes) DefaultRateLimit() *contracts.RateLimit { return contracts.PerHour(5000) }

func (Notes) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	settings, err := contracts.MetadataOf[NotesSettings](in)
	if err != nil {
		return contracts.Permanent(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, settings.BaseURL+"/notes", nil)
	if err != nil {
		return err
	}
	res, err := in.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var notes []Note
	if err := json.NewDecoder(res.Body).Decode(&notes); err != nil {
		return fmt.Errorf("read notes: %w", err)
	}
	for _, note := range notes {
		if err := session.Dispatch(ctx, note, note.UpdatedAt, note.ID); err != nil {
			return err
		}
	}
	return nil
}

// Example is the smallest provider with a sync: what an author writes, and what the runtime does with it.
func Example() {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"id":"n1","text":"milk","updated_at":"2024-03-01T10:00:00+02:00"},
			{"id":"n2","text":"bread","updated_at":"2024-03-01T09:00:00Z"}]`)
	}))
	defer upstream.Close()

	in := contracts.NewIntegration(contracts.IntegrationFields{
		Provider: "notes", Name: "kitchen", Metadata: json.RawMessage(`{"base_url":"` + upstream.URL + `"}`),
	})
	session := &printingSession{}
	var syncs contracts.ScheduledSync = Notes{}
	if err := syncs.Sync(context.Background(), in, session); err != nil {
		fmt.Println(err)
		return
	}
	cursor, err := syncs.ReduceCheckpoints(session.checkpoints)
	fmt.Println("cursor", string(cursor), err)
	// Output:
	// contracts_test.Note n1 "2024-03-01T10:00:00+02:00"
	// contracts_test.Note n2 "2024-03-01T09:00:00Z"
	// cursor "2024-03-01T09:00:00Z" <nil>
}

// printingSession stands for the runtime: it prints what is dispatched.
type printingSession struct {
	cursor      contracts.Cursor
	checkpoints []contracts.Checkpoint
}

func (s *printingSession) Cursor() (contracts.Cursor, bool) { return s.cursor, s.cursor != nil }

func (s *printingSession) Dispatch(_ context.Context, event, checkpoint any, externalID string) error {
	c, err := contracts.NewCheckpoint(checkpoint)
	if err != nil {
		return err
	}
	s.checkpoints = append(s.checkpoints, c)
	fmt.Println(contracts.EventType(event), externalID, string(c))
	return nil
}

func ExampleProvider() {
	var provider contracts.Provider = Notes{}
	fmt.Println(provider.Name())
	fmt.Println("credentials:", provider.CredentialRules(), provider.CredentialData())
	fmt.Printf("metadata: %v %T\n", provider.MetadataRules(), provider.MetadataData())
	// Output:
	// Notes
	// credentials: map[] <nil>
	// metadata: map[base_url:required,url] *contracts_test.NotesSettings
}

// A session takes items and remembers nothing for the provider but the cursor it started from.
func ExampleSyncSession() {
	var session contracts.SyncSession = &printingSession{cursor: contracts.Cursor(`17`)}
	cursor, ok := session.Cursor()
	fmt.Println("from", string(cursor), ok)
	if err := session.Dispatch(context.Background(), Note{ID: "n1"}, 18, "n1"); err != nil {
		fmt.Println(err)
	}
	// Output:
	// from 17 true
	// contracts_test.Note n1 18
}
