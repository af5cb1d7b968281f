package github

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// pageSize is GitHub's largest.
const pageSize = 100

// settled is how long ago a record must have been updated for its place in the list to be believed: a record that is edited while its page is
// written shows its new time in its old place.
const settled = time.Minute

// feed reads one list of records in ascending order of their updates.
//
// Page numbers shift while records move to the end of the list, so that they are used only where they must be: every request asks for the first
// page since the last timestamp seen, inclusive. Records that share a timestamp and fill more than a page are the exception: see walk.
//
// Nothing that was updated after the horizon is read, for it would make the cursor pass over what was updated in other places meanwhile. As
// records only leave the time before the horizon, the reading ends, however busily they are edited.
type feed struct {
	client *client
	path   []string
	// only are the parameters that this list has beside the common ones.
	only url.Values
	// since is the timestamp to go on from; zero is the beginning.
	since time.Time
	// take receives each record once for each of its updates.
	take func(ctx context.Context, h head, raw json.RawMessage, at time.Time) error
	// seen are the records at or after since that were taken, by id.
	seen map[int64]time.Time
	done bool
}

// head is what decides about a record: its id and time, and what only issues have.
type head struct {
	ID          int64           `json:"id"`
	UpdatedAt   time.Time       `json:"updated_at"`
	PullRequest json.RawMessage `json:"pull_request"`
	Number      int             `json:"number"`
}

// isPull reports whether an issue is a pull request. Ordinary issues have no such field, or null.
func (h head) isPull() bool { return len(h.PullRequest) > 0 && string(h.PullRequest) != "null" }

// page is a part of a list.
type page struct {
	response
	raw   []json.RawMessage
	heads []head
}

// read takes everything up to the horizon, and sets the horizon if it is not set.
func (f *feed) read(ctx context.Context, horizon *time.Time) error {
	f.seen = map[int64]time.Time{}
	for !f.done {
		if err := f.step(ctx, horizon); err != nil {
			return err
		}
	}
	return nil
}

// step reads the first page since the last timestamp, and moves on to the latest timestamp on it. When there is none but the same, it walks.
func (f *feed) step(ctx context.Context, horizon *time.Time) error {
	p, err := f.page(ctx, f.url())
	if err != nil {
		return err
	}
	if horizon.IsZero() {
		*horizon = p.at
	}
	if _, err := f.consume(ctx, p, *horizon); err != nil {
		return err
	}
	if f.isLast(p, *horizon) || f.advance(p, *horizon) {
		return nil
	}
	return f.walk(ctx, p, *horizon)
}

// walk reads on by Link through records of one timestamp, or too fresh to be believed in their place, until it can go on from a later timestamp or there are no more.
//
// Records that are edited meanwhile leave the pages before the one that is read next, and others move up past the reader. Therefore it walks
// back as well: records only move towards the front, and who goes there meets them all.
func (f *feed) walk(ctx context.Context, first page, horizon time.Time) error {
	var pages []*url.URL
	at, p := f.url(), first
	for !f.isLast(p, horizon) && !f.isBeyond(p, horizon) {
		pages = append(pages, at)
		at = p.next
		var fresh int
		var err error
		if p, fresh, err = f.next(ctx, at, horizon); err != nil {
			return err
		}
		if fresh == 0 && !f.isLast(p, horizon) {
			return fmt.Errorf("GET %s: page %d has nothing that was not on the pages before: the server turns in circles", at.EscapedPath(), len(pages)+1)
		}
	}
	for _, back := range slices.Backward(pages) {
		if _, _, err := f.next(ctx, back, horizon); err != nil {
			return err
		}
	}
	if !f.done {
		f.advance(p, horizon)
	}
	return nil
}

// next reads a page and consumes it.
func (f *feed) next(ctx context.Context, at *url.URL, horizon time.Time) (page, int, error) {
	p, err := f.page(ctx, at)
	if err != nil {
		return page{}, 0, err
	}
	fresh, err := f.consume(ctx, p, horizon)
	return p, fresh, err
}

// consume takes the records of a page that were not taken yet, and counts them.
func (f *feed) consume(ctx context.Context, p page, horizon time.Time) (fresh int, err error) {
	for i, h := range p.heads {
		if isLater(h, p, horizon) || f.seen[h.ID].Equal(h.UpdatedAt) {
			continue
		}
		f.seen[h.ID] = h.UpdatedAt
		at := h.UpdatedAt
		if at.After(horizon) {
			at = horizon
		}
		if err := f.take(ctx, h, p.raw[i], at); err != nil {
			return fresh, err
		}
		fresh++
	}
	return fresh, nil
}

// isLater reports whether a record was updated after the run began, and is left to the next one. A record from the future was not: its time is made up, and it will
// be there in every run.
func isLater(h head, p page, horizon time.Time) bool {
	return h.UpdatedAt.After(horizon) && !h.UpdatedAt.After(p.at.Add(settled))
}

// isLast reports whether a page ends the list, and notes it: there is no next one, or nothing is left but what the next run will read.
func (f *feed) isLast(p page, horizon time.Time) bool {
	f.done = p.next == nil || len(p.heads) == 0 ||
		!slices.ContainsFunc(p.heads, func(h head) bool { return !isLater(h, p, horizon) })
	return f.done
}

// isBeyond reports whether a page has a timestamp to go on from.
func (f *feed) isBeyond(p page, horizon time.Time) bool { return f.latest(p, horizon).After(f.since) }

// advance goes on from the latest timestamp of a page, if it is a later one.
func (f *feed) advance(p page, horizon time.Time) bool {
	if !f.isBeyond(p, horizon) {
		return false
	}
	f.since = f.latest(p, horizon)
	maps.DeleteFunc(f.seen, func(_ int64, updated time.Time) bool { return updated.Before(f.since) })
	return true
}

// latest is the latest timestamp of a page, in whole seconds as since has them, among those that can be believed.
func (f *feed) latest(p page, horizon time.Time) time.Time {
	var latest time.Time
	for _, h := range p.heads {
		if t := h.UpdatedAt.Truncate(time.Second); t.After(latest) && !t.After(horizon.Add(-settled)) {
			latest = t
		}
	}
	return latest
}

func (f *feed) url() *url.URL {
	values := url.Values{"sort": {"updated"}, "direction": {"asc"}, "per_page": {strconv.Itoa(pageSize)}}
	maps.Copy(values, f.only)
	if !f.since.IsZero() {
		values.Set("since", f.since.UTC().Format(time.RFC3339))
	}
	at := f.client.repository(f.path...)
	at.RawQuery = values.Encode()
	return at
}

func (f *feed) page(ctx context.Context, at *url.URL) (page, error) {
	var p page
	var err error
	if p.response, err = f.client.get(ctx, at, &p.raw); err != nil {
		return page{}, err
	}
	what := "GET " + at.EscapedPath()
	p.heads = make([]head, len(p.raw))
	for i, raw := range p.raw {
		if err := json.Unmarshal(raw, &p.heads[i]); err != nil {
			return page{}, fmt.Errorf("%s: record %d of the page: %w", what, i+1, err)
		}
		if p.heads[i].ID == 0 || p.heads[i].UpdatedAt.IsZero() {
			return page{}, fmt.Errorf("%s: record %d of the page has no id or no updated_at", what, i+1)
		}
	}
	if i := f.unsorted(p); i > 0 {
		return page{}, contracts.Permanent(fmt.Errorf("%s: record %d of the page was updated before the one ahead of it: the server ignores sort=updated, and reading on could skip records", what, i+1))
	}
	return p, nil
}

// unsorted is the index of a record that is older than one ahead of it, and 0 when there is none. Records that may just have been edited don't count.
func (f *feed) unsorted(p page) int {
	var latest time.Time
	for i, h := range p.heads {
		if h.UpdatedAt.After(p.at.Add(-settled)) {
			continue
		}
		if h.UpdatedAt.Before(latest) {
			return i
		}
		latest = h.UpdatedAt
	}
	return 0
}
