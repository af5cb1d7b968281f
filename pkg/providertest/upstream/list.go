package upstream

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// query is what a list was asked for, with GitHub's defaults.
type query struct {
	since         time.Time
	state         string
	isByUpdate    bool
	isDescending  bool
	page, perPage int
}

func (u *Upstream) query(values url.Values, isComments bool) (query, error) {
	q := query{state: "open", page: 1, perPage: min(30, u.opts.MaxPerPage), isDescending: values.Get("direction") != "asc"}
	q.isByUpdate = values.Get("sort") == "updated"
	if isComments {
		q.state = "all"
		// Without sort, GitHub passes over direction here.
		q.isDescending = values.Get("direction") == "desc" && values.Has("sort")
	}
	if s := values.Get("state"); s != "" && !isComments {
		q.state = s
	}
	if u.opts.IgnoreSort {
		q.isByUpdate, q.isDescending = false, true
	}
	if s := values.Get("since"); s != "" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return q, fmt.Errorf("since %q is not a timestamp", s)
		}
		q.since = t
	}
	// Senseless numbers count as absent, and large pages are cut without a word, as GitHub does.
	if n, err := strconv.Atoi(values.Get("page")); err == nil && n > 0 {
		q.page = n
	}
	if n, err := strconv.Atoi(values.Get("per_page")); err == nil && n > 0 {
		q.perPage = min(n, u.opts.MaxPerPage)
	}
	return q, nil
}

func (u *Upstream) listIssues(w http.ResponseWriter, r *http.Request) {
	u.list(w, r, false)
}

func (u *Upstream) listComments(w http.ResponseWriter, r *http.Request) {
	u.list(w, r, true)
}

func (u *Upstream) list(w http.ResponseWriter, r *http.Request, isComments bool) {
	q, err := u.query(r.URL.Query(), isComments)
	if err != nil {
		problem(w, http.StatusUnprocessableEntity, "Validation Failed: "+err.Error())
		return
	}
	render := u.renderer(r)
	u.mu.Lock()
	shelf, write := &u.store.issues, render.issue
	if isComments {
		shelf, write = &u.store.comments, render.comment
	}
	records, total := shelf.page(q, u.stateOf)
	body := []byte{'['}
	for i, record := range records {
		var raw json.RawMessage
		if raw, err = write(record); err != nil {
			break
		}
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, raw...)
	}
	body = append(body, ']')
	u.mu.Unlock()
	if err != nil {
		u.fail(w, err)
		return
	}
	if links := q.links(render.base, r.URL, total); links != "" {
		w.Header().Set("Link", links)
	}
	reply(w, r, http.StatusOK, body)
}

// page are the records of one page and how many there are on all.
func (s *shelf) page(q query, stateOf func(ref) string) (records []ref, total int) {
	from, to := (q.page-1)*q.perPage, q.page*q.perPage
	isPlain := q.isByUpdate && q.state == "all" && len(s.hidden) == 0
	n := 0
	for record := range s.ordered(q) {
		if record.updated.Before(q.since) || s.hidden[record.key] || q.state != "all" && stateOf(record) != q.state {
			continue
		}
		if from <= n && n < to {
			records = append(records, record)
		}
		if n++; n == to && isPlain {
			break
		}
	}
	if isPlain {
		n = s.count(q.since)
	}
	return records, n
}

func (s *shelf) ordered(q query) iter.Seq[ref] {
	switch {
	case !q.isByUpdate:
		return s.byCreation(q.isDescending)
	case q.isDescending:
		return s.byUpdateBack(q.since)
	default:
		return s.byUpdate(q.since)
	}
}

func (u *Upstream) stateOf(r ref) string {
	if r.edit != nil {
		return r.edit.state
	}
	if u.rule.closed(r.key) {
		return "closed"
	}
	return "open"
}

// links is the Link header of a page, in GitHub's order, and empty when there is one page only.
func (q query) links(base string, asked *url.URL, total int) string {
	last := max((total+q.perPage-1)/q.perPage, 1)
	var links []string
	add := func(page int, rel string) {
		values := asked.Query()
		values.Set("page", strconv.Itoa(page))
		links = append(links, fmt.Sprintf(`<%s%s?%s>; rel="%s"`, base, asked.EscapedPath(), values.Encode(), rel))
	}
	if q.page > 1 {
		add(min(q.page-1, last), "prev")
	}
	if q.page < last {
		add(q.page+1, "next")
		add(last, "last")
	}
	if q.page > 1 {
		add(1, "first")
	}
	return strings.Join(links, ", ")
}
