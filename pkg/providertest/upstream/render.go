package upstream

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// renderer writes records as GitHub does; base is the address that they name.
type renderer struct {
	u    *Upstream
	base string
}

func (r renderer) repoURL() string {
	return r.base + "/repos/" + url.PathEscape(r.u.opts.Owner) + "/" + url.PathEscape(r.u.opts.Repo)
}

func (r renderer) htmlURL() string { return r.base + "/" + r.u.opts.Owner + "/" + r.u.opts.Repo }

func (r renderer) issue(of ref) (json.RawMessage, error) {
	if of.edit != nil && of.edit.raw != nil {
		return of.edit.raw, nil
	}
	rule, n := r.u.rule, of.key
	random := rule.random("issue", n)
	text := r.u.words
	title, body := text.title(random), text.body(random)
	self := r.repoURL() + "/issues/" + strconv.Itoa(n)
	issue := issueJSON{
		URL: self, RepositoryURL: r.repoURL(), LabelsURL: self + "/labels{/name}", CommentsURL: self + "/comments", EventsURL: self + "/events",
		TimelineURL: self + "/timeline", ID: 1_000_000_000 + int64(n), NodeID: nodeID("I", n), Number: n, Title: title, Body: &body,
		User: r.user(random), Labels: r.labels(random), Assignees: []*userJSON{}, State: "open",
		CreatedAt: rule.created(n), UpdatedAt: of.updated, AuthorAssociation: pick(random, []string{"NONE", "MEMBER", "CONTRIBUTOR", "OWNER"}),
		Reactions: reactionsJSON{URL: self + "/reactions", TotalCount: 3, PlusOne: 2, Eyes: 1}, Locked: random.IntN(50) == 0,
	}
	if random.IntN(8) == 0 {
		issue.Body = nil
	}
	if issue.Locked {
		issue.ActiveLockReason = new("resolved")
	}
	if random.IntN(3) == 0 {
		issue.Assignees = []*userJSON{r.user(random)}
		issue.Assignee = issue.Assignees[0]
	}
	if random.IntN(4) == 0 {
		issue.Milestone = r.milestone(random, 1+random.IntN(3))
	}
	closer := r.user(random)
	state, closed := "open", (*time.Time)(nil)
	if rule.has(n) {
		position := rule.positionOf(n)
		if _, ok := rule.commentOf(position); ok {
			issue.Comments++
		}
		if rule.closed(n) {
			state, closed = "closed", new(rule.timeAt(position))
		}
	}
	if e := of.edit; e != nil {
		issue.apply(e)
		state, closed = e.state, e.closed
	}
	if state == "closed" {
		issue.State, issue.ClosedAt, issue.StateReason, issue.ClosedBy = state, closed, new("completed"), closer
	}
	issue.HTMLURL = r.htmlURL() + "/issues/" + strconv.Itoa(n)
	switch {
	case r.u.isPull(of):
		issue.HTMLURL = r.htmlURL() + "/pull/" + strconv.Itoa(n)
		pull := pullJSON{URL: r.repoURL() + "/pulls/" + strconv.Itoa(n), HTMLURL: issue.HTMLURL, DiffURL: issue.HTMLURL + ".diff", PatchURL: issue.HTMLURL + ".patch"}
		raw, err := json.Marshal(pull)
		if err != nil {
			return nil, fmt.Errorf("write pull request %d: %w", n, err)
		}
		issue.PullRequest, issue.Draft = raw, new(false)
	case rule.nulls > 0 && n%rule.nulls == 0:
		issue.PullRequest = json.RawMessage("null")
	}
	return json.Marshal(issue)
}

func (i *issueJSON) apply(e *edit) {
	if !e.created.IsZero() {
		i.CreatedAt = e.created
	}
	if e.title != nil {
		i.Title = *e.title
	}
	if e.body != nil {
		i.Body = e.body
	}
	i.Comments += e.comments
}

func (r renderer) comment(of ref) (json.RawMessage, error) {
	if of.edit != nil && of.edit.raw != nil {
		return of.edit.raw, nil
	}
	random := r.u.rule.random("comment", of.key)
	id := strconv.Itoa(of.key)
	number := r.u.issueOf(of)
	parent, _ := r.u.store.issues.get(number)
	kind := "/issues/"
	if r.u.isPull(parent) {
		kind = "/pull/"
	}
	self := r.repoURL() + "/issues/comments/" + id
	comment := commentJSON{
		URL: self, HTMLURL: r.htmlURL() + kind + strconv.Itoa(number) + "#issuecomment-" + id, IssueURL: r.repoURL() + "/issues/" + strconv.Itoa(number),
		ID: int64(of.key), NodeID: nodeID("IC", of.key), User: r.user(random), CreatedAt: of.updated, UpdatedAt: of.updated,
		Body: r.u.words.body(random), AuthorAssociation: "NONE", Reactions: reactionsJSON{URL: self + "/reactions"},
	}
	if e := of.edit; e != nil {
		comment.CreatedAt = e.created
		if e.body != nil {
			comment.Body = *e.body
		}
	}
	return json.Marshal(comment)
}

func (r renderer) user(random *rand.Rand) *userJSON {
	logins := r.u.words.logins
	n := random.IntN(len(logins))
	login := logins[n]
	self := r.base + "/users/" + url.PathEscape(login)
	return &userJSON{
		Login: login, ID: int64(n + 1), NodeID: nodeID("U", n+1), AvatarURL: r.base + "/avatars/" + strconv.Itoa(n+1), URL: self, HTMLURL: r.base + "/" + url.PathEscape(login),
		FollowersURL: self + "/followers", FollowingURL: self + "/following{/other_user}", GistsURL: self + "/gists{/gist_id}",
		StarredURL: self + "/starred{/owner}{/repo}", SubscriptionsURL: self + "/subscriptions", OrganizationsURL: self + "/orgs", ReposURL: self + "/repos",
		EventsURL: self + "/events{/privacy}", ReceivedEventsURL: self + "/received_events", Type: "User", UserViewType: "public",
	}
}

func (r renderer) labels(random *rand.Rand) []labelJSON {
	text, labels := r.u.words, []labelJSON{}
	first := random.IntN(len(text.labels))
	for i := range random.IntN(3) {
		n := (first + i) % len(text.labels)
		labels = append(labels, labelJSON{
			ID: int64(n + 1), NodeID: nodeID("LA", n+1), URL: r.repoURL() + "/labels/" + url.PathEscape(text.labels[n]),
			Name: text.labels[n], Color: text.colors[n], Default: n < 2, Description: new("All about " + text.labels[n]),
		})
	}
	return labels
}

func (r renderer) milestone(random *rand.Rand, n int) *milestoneJSON {
	self := r.repoURL() + "/milestones/" + strconv.Itoa(n)
	created := newest().AddDate(-1, n, 0)
	return &milestoneJSON{
		URL: self, HTMLURL: r.htmlURL() + "/milestone/" + strconv.Itoa(n), LabelsURL: self + "/labels", ID: int64(n), NodeID: nodeID("MI", n), Number: n,
		Title: "v" + strconv.Itoa(n) + ".0", Creator: r.user(random), OpenIssues: n, State: "open", CreatedAt: created, UpdatedAt: created,
	}
}

func nodeID(kind string, n int) string {
	return kind + "_" + strings.TrimRight(base64.URLEncoding.EncodeToString([]byte(strconv.Itoa(n))), "=")
}
