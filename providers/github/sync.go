package github

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// stretch is how many pages of issues are read before the comments up to there.
const stretch = 50

// enumeration is one sync under way.
type enumeration struct {
	client   *client
	in       *contracts.Integration
	session  contracts.SyncSession
	since    time.Time
	issues   *feed
	comments *feed
	// latest is the latest time that an item was counted for.
	latest time.Time
	// listed are the numbers that the list of issues had. It is nil without a cursor, when nothing can be missing for a comment.
	listed map[int]bool
	// missing are the numbers of issues that have fresh comments and were not listed.
	missing map[int]bool
}

func (p Provider) enumerate(in *contracts.Integration, session contracts.SyncSession, since time.Time) (*enumeration, error) {
	c, err := p.client(in)
	if err != nil {
		return nil, err
	}
	e := &enumeration{client: c, in: in, session: session, since: since}
	if !since.IsZero() {
		e.listed, e.missing = map[int]bool{}, map[int]bool{}
	}
	e.issues = newFeed(feed{client: c, path: []string{"issues"}, only: url.Values{"state": {"all"}}, since: since, take: e.issue})
	if wanted := c.metadata.Comments; wanted == nil || *wanted {
		e.comments = newFeed(feed{client: c, path: []string{"issues", "comments"}, since: since, take: e.comment})
	}
	return e, nil
}

// run reads both lists side by side, a stretch of issues and then the comments up to there. With mayPause it ends early, between two stretches, when the
// token's budget has no room for another: what was read up to then is whole, and the next run goes on from the cursor. To read on would end in a deferral, after which a run
// starts afresh, and a repository of more pages than an hour's budget would never be read.
func (e *enumeration) run(ctx context.Context, mayPause bool) error {
	for !e.issues.done {
		before := e.client.requests
		for i := 0; i < stretch && !e.issues.done; i++ {
			if err := e.issues.step(ctx); err != nil {
				return err
			}
		}
		until := e.issues.horizon
		if !e.issues.done {
			until = earlier(until, e.issues.since)
		}
		if e.comments != nil {
			e.comments.horizon = e.issues.horizon
			if err := e.comments.readTo(ctx, until); err != nil {
				return err
			}
		}
		if cost := e.client.requests - before; mayPause && !e.issues.done && !e.client.canSpare(cost) && !e.latest.After(until) {
			e.in.Log().InfoContext(ctx, "little is left of the rate limit: the next run goes on", "until", until)
			return nil
		}
	}
	if err := e.recover(ctx); err != nil {
		return err
	}
	e.tellIfRenamed(ctx)
	return nil
}

// dispatch hands an item over.
func (e *enumeration) dispatch(ctx context.Context, event any, at time.Time, id string) error {
	if at.After(e.latest) {
		e.latest = at
	}
	return e.session.Dispatch(ctx, event, at.UTC(), id)
}

// issue takes an issue, unless it is a pull request.
func (e *enumeration) issue(ctx context.Context, h head, raw json.RawMessage, at time.Time) error {
	if h.Number == 0 {
		return fmt.Errorf("the issue with the id %d has no number", h.ID)
	}
	if e.listed != nil {
		e.listed[h.Number] = true
	}
	if h.isPull() {
		return nil
	}
	var issue Issue
	if err := issue.UnmarshalJSON(raw); err != nil {
		return fmt.Errorf("issue %d: %w", h.Number, err)
	}
	return e.dispatch(ctx, issue, at, strconv.Itoa(issue.Number))
}

// comment takes a comment, unless it is on a pull request.
func (e *enumeration) comment(ctx context.Context, h head, raw json.RawMessage, at time.Time) error {
	var comment IssueComment
	if err := comment.UnmarshalJSON(raw); err != nil {
		return fmt.Errorf("comment %d: %w", h.ID, err)
	}
	if strings.Contains(comment.HTMLURL, "/pull/") {
		return nil
	}
	if number, ok := comment.IssueNumber(); ok && e.listed != nil {
		e.missing[number] = true
	}
	return e.dispatch(ctx, comment, at, strconv.FormatInt(comment.ID, 10))
}

// recover asks for the issues that have fresh comments but were not in the list, which lags behind at times by more than the overlap.
func (e *enumeration) recover(ctx context.Context) error {
	maps.DeleteFunc(e.missing, func(number int, _ bool) bool { return e.listed[number] })
	for _, number := range slices.Sorted(maps.Keys(e.missing)) {
		var raw json.RawMessage
		_, err := e.client.get(ctx, e.client.repository("issues", strconv.Itoa(number)), &raw)
		if isGone(err) || err == nil && string(raw) == "null" {
			continue
		}
		if err != nil {
			return err
		}
		var h head
		if err := json.Unmarshal(raw, &h); err != nil {
			return fmt.Errorf("issue %d: %w", number, err)
		}
		// A comment that was edited leaves its issue as old as it was, and rightly not in the list.
		if h.UpdatedAt.Before(e.since) {
			continue
		}
		e.in.Log().WarnContext(ctx, "an issue with a fresh comment was missing from the list", "issue", number)
		if err := e.issue(ctx, h, raw, earlier(h.UpdatedAt, e.issues.horizon)); err != nil {
			return err
		}
	}
	return nil
}
