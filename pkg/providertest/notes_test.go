package providertest_test

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	apiKey     = "a-key-of-some-length"
	hookSecret = "a-secret-of-the-webhook"
	notesAPage = 5
)

// note is the record of the test's upstream.
type note struct {
	ID        string    `json:"id"`
	Text      string    `json:"text"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// notes is an upstream that pages by a key, or by numbers where it is asked to. Some records are hidden from the caller: a page with hidden ones is shorter than
// others, and one is empty, though more follow.
type notes struct {
	*httptest.Server

	mu       sync.Mutex
	revision int
	all      map[string]note
}

func newNotes(t testing.TB) *notes {
	t.Helper()
	n := &notes{all: map[string]note{}}
	for i := range 22 {
		n.edit(fmt.Sprint("n", i))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /notes", n.list)
	mux.HandleFunc("GET /notes/{id}", n.one)
	mux.HandleFunc("GET /me", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /open", func(http.ResponseWriter, *http.Request) {})
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != apiKey && r.URL.Path != "/open" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(n.Close)
	return n
}

func isHidden(id string) bool {
	return slices.Contains([]string{"n2", "n10", "n11", "n12", "n13", "n14"}, id)
}

// edit makes a note, or changes it: every edit takes a minute.
func (n *notes) edit(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.revision++
	at := time.Date(2024, 1, 1, 0, n.revision, 0, 0, time.UTC)
	changed, ok := n.all[id]
	if !ok {
		changed = note{ID: id, CreatedAt: at}
	}
	changed.Text, changed.UpdatedAt = fmt.Sprint("revision ", n.revision), at
	n.all[id] = changed
}

func (n *notes) sorted(by func(note) time.Time) []note {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []note
	for _, one := range n.all {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b note) int { return cmp.Or(by(a).Compare(by(b)), cmp.Compare(a.ID, b.ID)) })
	return all
}

func (n *notes) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	by := func(one note) time.Time { return one.UpdatedAt }
	if query.Get("sort") == "created" {
		by = func(one note) time.Time { return one.CreatedAt }
	}
	all := n.sorted(by)
	if since, err := time.Parse(time.RFC3339, query.Get("since")); err == nil {
		all = slices.DeleteFunc(all, func(one note) bool { return one.UpdatedAt.Before(since) })
	}
	next := ""
	if page, err := strconv.Atoi(query.Get("page")); err == nil {
		all = all[min(len(all), (page-1)*notesAPage):]
		query.Set("page", strconv.Itoa(page+1))
	} else {
		if after, err := time.Parse(time.RFC3339, query.Get("after")); err == nil {
			all = slices.DeleteFunc(all, func(one note) bool { return !one.UpdatedAt.After(after) })
		}
		if len(all) > notesAPage {
			query.Del("since")
			query.Set("after", all[notesAPage-1].UpdatedAt.Format(time.RFC3339))
		}
	}
	if len(all) > notesAPage {
		all = all[:notesAPage]
		next = "http://" + r.Host + r.URL.Path + "?" + query.Encode()
		w.Header().Set("Link", "<"+next+`>; rel="next"`)
	}
	all = slices.DeleteFunc(slices.Clone(all), func(one note) bool { return isHidden(one.ID) })
	_ = json.NewEncoder(w).Encode(all)
}

// ids are those of the notes that the caller may see.
func (n *notes) ids(testing.TB) []string {
	var ids []string
	for _, one := range n.sorted(func(one note) time.Time { return one.CreatedAt }) {
		if !isHidden(one.ID) {
			ids = append(ids, one.ID)
		}
	}
	return ids
}

func (n *notes) one(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	one, ok := n.all[r.PathValue("id")]
	n.mu.Unlock()
	if !ok || isHidden(one.ID) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(one)
}

// delivery is the signed webhook about a note as it is now, behind others.
func (n *notes) delivery(t testing.TB, id string, before ...string) *contracts.WebhookRequest {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	body, err := json.Marshal(changed{Account: "test", Type: "note.changed", Notes: append(before, id)})
	if err != nil {
		t.Fatal(err)
	}
	return signedDelivery(body, fmt.Sprintf("delivery-%s-%d", id, n.all[id].UpdatedAt.Unix()))
}

// signedDelivery is a delivery with an id, as the upstream sends it.
func signedDelivery(body []byte, id string) *contracts.WebhookRequest {
	received := time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)
	stamp := strconv.FormatInt(received.Unix(), 10)
	header := http.Header{
		"X-Timestamp": {stamp}, "X-Signature": {signature(hookSecret, stamp, body)}, "X-Plain-Signature": {signature(hookSecret, "", body)}, "X-Delivery": {id},
	}
	return &contracts.WebhookRequest{Method: http.MethodPost, Path: "/", Body: body, ReceivedAt: received, Header: header}
}

func signature(secret, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
