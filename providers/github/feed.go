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
)

const (
	// pageSize is GitHub's largest.
	pageSize = 100
	// settled is how long ago a record must have been updated for its place in the list to be believed: a record that is edited while its page is
	// written shows its new time in its old place.
	settled = time.Minute
	// fruitlessPages is how many pages in a row may have nothing new, where a page without records shows that the upstream hides some.
	fruitlessPages = 100
)

// feed reads one list of records in ascending order of their updates.
//
// Page numbers shift while records move to the end of the list, so that they are used only where they must be: every request asks for the first
// page since the last timestamp seen, inclusive. Records that share a timestamp and fill more than a page are the exception: see walk.
type feed struct {
	client *client
	path   []string
	// only are the parameters that this list has beside the common ones.
	only url.Values
	// take receives each record once for each of its updates, and the time to count it for.
	take func(ctx context.Context, h head, raw json.RawMessage, at time.Time) error

	// since is the timestamp to go on from; zero is the beginning.
	since time.Time
	// horizon is the upstream's time at the run's first answer. What was updated later is left to the next run: read now, it would make the cursor pass
	// over what was updated in other places meanwhile. As records only leave the time before the horizon, the reading ends, however
	// busily they are edited.
	horizon time.Time
	// until is how far to read for now, at most to the horizon.
	until time.Time
	// seen are the records at or after since that were taken, by id.
	seen map[int64]time.Time
	done bool
}

func newFeed(f feed) *feed {
	f.seen = map[int64]time.Time{}
	return &f
}

// readTo takes everything up to a time.
func (f *feed) readTo(ctx context.Context, until time.Time) error {
	f.until, f.done = until, false
	for !f.done {
		if err := f.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step reads the first page since the last timestamp, and goes on from the latest timestamp on it. When there is none but the same, it walks.
func (f *feed) step(ctx context.Context) error {
	at := f.url()
	p, _, err := f.next(ctx, at)
	if err != nil {
		return err
	}
	f.done = f.isLast(p)
	if f.advance(p) || f.done {
		return nil
	}
	return f.walk(ctx, at, p)
}

// walk reads on by Link through records of one timestamp, or too fresh to be believed in their place, until it can go on from a later timestamp or
// there are no more.
//
// Records that are edited meanwhile leave the pages before the one that is read next, and others move up past the reader. Therefore it walks
// back as well: records only move towards the front, and who goes there meets them all.
func (f *feed) walk(ctx context.Context, at *url.URL, p page) error {
	var pages []*url.URL
	asked, hasHidden, fruitless := map[string]bool{}, len(p.heads) == 0, 0
	for !f.done && !f.latest(p).After(f.since) {
		pages, asked[at.String()] = append(pages, at), true
		at = p.next
		var fresh int
		var err error
		if p, fresh, err = f.next(ctx, at); err != nil {
			return err
		}
		if fruitless++; fresh > 0 {
			fruitless = 0
		}
		hasHidden = hasHidden || len(p.heads) == 0
		circles := fruitless > 0 && !hasHidden || p.next != nil && asked[p.next.String()] || fruitless >= fruitlessPages
		if f.done = f.isLast(p); circles && !f.done {
			return fmt.Errorf("GET %s: page %d has nothing that was not on the pages before: the server turns in circles", at.EscapedPath(), len(pages)+1)
		}
	}
	for _, back := range slices.Backward(pages) {
		if _, _, err := f.next(ctx, back); err != nil {
			return err
		}
	}
	f.advance(p)
	return nil
}

// next reads a page, takes its records that were not taken yet, and counts those.
func (f *feed) next(ctx context.Context, at *url.URL) (p page, fresh int, err error) {
	p, err = f.client.page(ctx, at)
	if err != nil {
		return page{}, 0, err
	}
	if f.horizon.IsZero() {
		f.horizon, f.until = p.at, p.at
	}
	for i, h := range p.heads {
		if f.isLater(h, p) || f.seen[h.ID].Equal(h.UpdatedAt) {
			continue
		}
		f.seen[h.ID] = h.UpdatedAt
		if err := f.take(ctx, h, p.raw[i], earlier(h.UpdatedAt, f.horizon)); err != nil {
			return page{}, fresh, err
		}
		fresh++
	}
	return p, fresh, nil
}

// isLater reports whether a record is left for later. A record from the future is not: its time is made up, and later never comes.
func (f *feed) isLater(h head, p page) bool {
	return h.UpdatedAt.After(f.until) && !h.UpdatedAt.After(p.at.Add(settled))
}

// isLast reports whether nothing up to the time to read to is behind a page.
func (f *feed) isLast(p page) bool {
	later := func(h head) bool { return f.isLater(h, p) }
	believed := func(h head) bool { return later(h) && !h.UpdatedAt.After(f.horizon.Add(-settled)) }
	if p.next == nil || len(p.heads) == 0 {
		// An empty page may have others behind it: its records were taken from the caller's sight.
		return p.next == nil
	}
	return slices.ContainsFunc(p.heads, believed) || !slices.ContainsFunc(p.heads, func(h head) bool { return !later(h) })
}

// advance goes on from the latest timestamp of a page, if it is a later one.
func (f *feed) advance(p page) bool {
	latest := f.latest(p)
	if !latest.After(f.since) {
		return false
	}
	f.since = latest
	maps.DeleteFunc(f.seen, func(_ int64, updated time.Time) bool { return updated.Before(latest) })
	return true
}

// latest is the latest timestamp of a page that can be believed, in whole seconds as since has them.
func (f *feed) latest(p page) time.Time {
	var latest time.Time
	most := earlier(f.until, f.horizon.Add(-settled))
	for _, h := range p.heads {
		if t := h.UpdatedAt.Truncate(time.Second); t.After(latest) && !h.UpdatedAt.After(most) {
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

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
