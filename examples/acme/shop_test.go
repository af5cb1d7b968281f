package acme_test

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"

	"example.com/acme"
)

const (
	key      = "a-key-of-the-shop"
	pageSize = 10
)

// shop is the upstream, in memory.
type shop struct {
	*httptest.Server

	mu       sync.Mutex
	revision int64
	orders   map[string]acme.Order
}

func newShop(t testing.TB) *shop {
	t.Helper()
	s := &shop{orders: map[string]acme.Order{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

// put adds an order or changes it.
func (s *shop) put(id string, cents int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.orders[id] = acme.Order{ID: id, Cents: cents, Revision: s.revision}
}

// ids are those of all orders.
func (s *shop) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.orders))
}

func (s *shop) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+key {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	after, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	if err != nil || r.URL.Path != "/orders" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	page := []acme.Order{}
	for _, order := range s.orders {
		if order.Revision > after {
			page = append(page, order)
		}
	}
	slices.SortFunc(page, func(a, b acme.Order) int { return cmp.Compare(a.Revision, b.Revision) })
	_ = json.NewEncoder(w).Encode(page[:min(len(page), pageSize)])
}
