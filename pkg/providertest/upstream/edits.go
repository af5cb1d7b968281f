package upstream

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Change says what to change in an issue; nil fields stay as they are.
type Change struct {
	Title *string `json:"title"`
	Body  *string `json:"body"`
	// State is "open" or "closed".
	State *string `json:"state"`
}

// Record is an issue or comment as tests compare it.
type Record struct {
	// Key is an issue's number or a comment's id.
	Key       int
	UpdatedAt time.Time
	// Issue is the number of the issue that a comment belongs to, or the issue's own.
	Issue int
	// IsPull says that it is a pull request, or a comment on one.
	IsPull bool
}

// Edit changes an issue, which thereby is the latest updated one. An unknown number is an error.
func (u *Upstream) Edit(number int, change Change) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	e, err := u.edited(number)
	if err != nil {
		return err
	}
	if change.Title != nil {
		e.title = change.Title
	}
	if change.Body != nil {
		e.body = change.Body
	}
	if change.State != nil && *change.State != e.state {
		e.state, e.closed = *change.State, nil
		if e.state == "closed" {
			e.closed = new(e.updated)
		}
	}
	if e.raw != nil {
		if e.raw, err = patch(e.raw, e); err != nil {
			return fmt.Errorf("edit issue %d: %w", number, err)
		}
	}
	u.store.issues.put(e)
	u.tellIssue("edited", number)
	return nil
}

// patch writes what an edit changed into a raw issue; its other fields stay as they are.
func patch(raw json.RawMessage, e *edit) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	changes := map[string]any{"updated_at": e.updated, "state": e.state, "closed_at": e.closed}
	if e.title != nil {
		changes["title"] = *e.title
	}
	if e.body != nil {
		changes["body"] = *e.body
	}
	for name, value := range changes {
		var err error
		if fields[name], err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(fields)
}

// Touch makes an issue the latest updated one and changes nothing else. An unknown number is an error.
func (u *Upstream) Touch(number int) error { return u.Edit(number, Change{}) }

// TouchEvery touches every n-th issue, in the order of their numbers, and returns how many.
func (u *Upstream) TouchEvery(n int) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	touched := 0
	for number := n; number <= u.rule.issues; number += n {
		// Every number up to that is known, and those of the rule are never raw unless they were replaced.
		if e, err := u.edited(number); err == nil && e.raw == nil {
			u.store.issues.put(e)
			touched++
		}
	}
	return touched
}

// Add opens an issue and returns its number.
func (u *Upstream) Add(title, body string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	number := u.rule.issues + 1
	if n := len(u.store.issues.extra); n > 0 {
		number = max(number, u.store.issues.extra[n-1]+1)
	}
	now := u.now()
	u.store.issues.put(&edit{key: number, created: now, updated: now, title: &title, body: &body, state: "open"})
	u.tellIssue("opened", number)
	return number
}

// AddComment comments on an issue, which updates the issue too, and returns the comment's id. An unknown number is an error.
func (u *Upstream) AddComment(number int, body string) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	e, err := u.edited(number)
	if err != nil {
		return 0, err
	}
	e.comments++
	u.store.issues.put(e)
	id := u.store.nextComment
	u.store.nextComment++
	u.store.comments.put(&edit{key: id, created: e.updated, updated: e.updated, body: &body, issue: number})
	u.tellComment("created", id, number)
	return id, nil
}

// EditComment changes a comment and not its issue. An unknown id is an error.
func (u *Upstream) EditComment(id int, body string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	old, ok := u.store.comments.get(id)
	if !ok {
		return fmt.Errorf("no comment %d", id)
	}
	e := edit{key: id, created: old.updated, issue: u.issueOf(old)}
	if old.edit != nil {
		e = *old.edit
	}
	e.body, e.updated, e.raw = &body, u.now(), nil
	u.store.comments.put(&e)
	u.tellComment("edited", id, e.issue)
	return nil
}

// AddRaw stores an issue, or with isComment a comment, that is served byte for byte as given. It must be a JSON object with a number (or, a comment, an
// id), an updated_at and, a comment, an issue_url.
func (u *Upstream) AddRaw(raw json.RawMessage, isComment bool) error {
	var head struct {
		ID          int             `json:"id"`
		Number      int             `json:"number"`
		State       string          `json:"state"`
		CreatedAt   time.Time       `json:"created_at"`
		UpdatedAt   time.Time       `json:"updated_at"`
		IssueURL    string          `json:"issue_url"`
		PullRequest json.RawMessage `json:"pull_request"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return fmt.Errorf("add a raw record: %w", err)
	}
	e := &edit{
		key: head.Number, created: head.CreatedAt, updated: head.UpdatedAt.UTC(), state: head.State, raw: raw,
		isPull: len(head.PullRequest) > 0 && string(head.PullRequest) != "null",
	}
	shelf := &u.store.issues
	if isComment {
		number, err := strconv.Atoi(head.IssueURL[strings.LastIndex(head.IssueURL, "/")+1:])
		if err != nil {
			return fmt.Errorf("add raw comment %d: no number in issue_url %q", head.ID, head.IssueURL)
		}
		e.key, e.issue, shelf = head.ID, number, &u.store.comments
	}
	if e.key == 0 || e.updated.IsZero() {
		return fmt.Errorf("add a raw record: without number, id or updated_at")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	shelf.put(e)
	return nil
}

// Hide leaves an issue out of the list until [Upstream.Show], as GitHub's list lags at times; it can still be got by its number.
func (u *Upstream) Hide(number int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.store.issues.hidden[number] = true
}

// Show ends [Upstream.Hide].
func (u *Upstream) Show(number int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.store.issues.hidden, number)
}

// Issues are all issues that exist now, pull requests among them, oldest update first.
func (u *Upstream) Issues() iter.Seq[Record] {
	return u.snapshot(&u.store.issues, func(r ref) Record {
		return Record{Key: r.key, UpdatedAt: r.updated, Issue: r.key, IsPull: u.isPull(r)}
	})
}

// Comments are all comments that exist now, oldest update first.
func (u *Upstream) Comments() iter.Seq[Record] {
	return u.snapshot(&u.store.comments, func(r ref) Record {
		number := u.issueOf(r)
		parent, _ := u.store.issues.get(number)
		return Record{Key: r.key, UpdatedAt: r.updated, Issue: number, IsPull: u.isPull(parent)}
	})
}

func (u *Upstream) snapshot(s *shelf, record func(ref) Record) iter.Seq[Record] {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]Record, 0, s.size+len(s.extra))
	for r := range s.byUpdate(time.Time{}) {
		all = append(all, record(r))
	}
	return slices.Values(all)
}

// edited is the edit that a change to an issue starts from: what the issue is, updated now.
func (u *Upstream) edited(number int) (*edit, error) {
	old, ok := u.store.issues.get(number)
	if !ok {
		return nil, fmt.Errorf("no issue %d", number)
	}
	e := edit{key: number, state: "open"}
	switch {
	case old.edit != nil:
		e = *old.edit
	case u.rule.closed(number):
		e.state, e.closed = "closed", new(old.updated)
	}
	e.updated = u.now()
	return &e, nil
}

func (u *Upstream) isPull(r ref) bool {
	if u.rule.has(r.key) && (r.edit == nil || r.edit.raw == nil) {
		return u.rule.isPull(r.key)
	}
	return r.edit != nil && r.edit.isPull
}

// issueOf is the number of a comment's issue.
func (u *Upstream) issueOf(comment ref) int {
	if comment.edit != nil {
		return comment.edit.issue
	}
	return u.rule.numberAt((comment.key - firstComment) * u.rule.commentEvery)
}
