package providertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/providertest"
)

const documentsToken = "the-token-of-the-documents"

// documentsServer answers documentsQuery.
type documentsServer struct {
	mu  sync.Mutex
	now time.Time
	all map[string]document
}

func (s *documentsServer) edit(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(700 * time.Millisecond)
	s.all[id] = document{ID: id, Updated: s.now}
}

func (s *documentsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var query documentsQuery
	if r.Header.Get("Authorization") != "Bearer "+documentsToken {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&query); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var data any
	switch {
	case query.Me:
		data = "me"
	case query.Text != "":
		data = "the text of " + query.Text
	default:
		data = s.page(query)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

func (s *documentsServer) page(query documentsQuery) documentsPage {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := documentsPage{Documents: []document{}}
	for _, one := range s.all {
		if !one.Updated.Before(query.Since) && one.Updated.After(query.After) {
			page.Documents = append(page.Documents, one)
		}
	}
	slices.SortFunc(page.Documents, func(a, b document) int { return a.Updated.Compare(b.Updated) })
	if len(page.Documents) > notesAPage {
		page.Documents, page.HasMore = page.Documents[:notesAPage], true
	}
	return page
}

// TestTheSuitePassesWhatIsCorrect has the suite look at a provider that is correct in ways of its own.
func TestTheSuitePassesWhatIsCorrect(t *testing.T) {
	t.Parallel()
	upstream := &documentsServer{now: time.Date(2026, 1, 1, 0, 0, 0, 123e6, time.UTC), all: map[string]document{}}
	for i := range 13 {
		upstream.edit(fmt.Sprint("d", i))
	}
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	providertest.Run(t, providertest.Suite{
		Provider: documents{}, Key: "documents", Metadata: place{URL: server.URL},
		Credentials: documentsClient{ID: "the-client", Secret: "the-secret-of-the-client", AccessToken: documentsToken, RefreshToken: "the-refresh-token-of-documents"},
		Change:      func(testing.TB) string { upstream.edit("d3"); return "d3" },
		Edit:        func(_ testing.TB, item providertest.Item) { upstream.edit(item.ExternalID) },
	})
}
