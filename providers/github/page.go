package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// page is a part of a list.
type page struct {
	response
	raw   []json.RawMessage
	heads []head
}

// head is what decides about a record: its id and time, and what only issues have.
type head struct {
	ID          int64           `json:"id"`
	Number      int             `json:"number"`
	UpdatedAt   time.Time       `json:"updated_at"`
	PullRequest json.RawMessage `json:"pull_request"`
}

// isPull reports whether an issue is a pull request. Ordinary issues have no such field, or null.
func (h head) isPull() bool { return len(h.PullRequest) > 0 && string(h.PullRequest) != "null" }

// page reads a page of a list that was asked for in ascending order of updates.
func (c *client) page(ctx context.Context, at *url.URL) (page, error) {
	var p page
	var err error
	if p.response, err = c.get(ctx, at, &p.raw); err != nil {
		return page{}, err
	}
	what := "GET " + at.EscapedPath()
	if len(p.raw) >= pageSize && p.next == nil {
		// The tag of a full last page stays the same when records follow it on a page of their own.
		c.forget(at)
	}
	p.heads = make([]head, len(p.raw))
	for i, raw := range p.raw {
		if err := json.Unmarshal(raw, &p.heads[i]); err != nil {
			return page{}, fmt.Errorf("%s: record %d of the page: %w", what, i+1, err)
		}
		if p.heads[i].ID == 0 || p.heads[i].UpdatedAt.IsZero() {
			return page{}, fmt.Errorf("%s: record %d of the page has no id or no updated_at", what, i+1)
		}
	}
	if i := p.unsorted(); i > 0 {
		return page{}, contracts.Permanent(fmt.Errorf("%s: record %d of the page was updated before one ahead of it: "+
			"the server ignores sort=updated, and reading on could skip records", what, i+1))
	}
	return p, nil
}

// unsorted is the index of a record that is older than one ahead of it, and 0 when there is none. Records that may just have been edited don't count, nor does a
// second copy of one.
func (p page) unsorted() int {
	var latest time.Time
	known := make(map[int64]bool, len(p.heads))
	for i, h := range p.heads {
		if known[h.ID] || h.UpdatedAt.After(p.at.Add(-settled)) {
			continue
		}
		if h.UpdatedAt.Before(latest) {
			return i
		}
		known[h.ID], latest = true, h.UpdatedAt
	}
	return 0
}
