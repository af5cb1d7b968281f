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

// enumeration is one sync under way.
type enumeration struct {
	client  *client
	in      *contracts.Integration
	session contracts.SyncSession
	since   time.Time
	// horizon is the upstream's time at the first answer.
	horizon time.Time
	// listed are the numbers that the list of issues had. It is nil without a cursor, when nothing can be missing for a comment.
	listed map[int]bool
	// missing are the numbers of issues that have fresh comments and were not listed.
	missing map[int]bool
}

func (p Provider) sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession, since time.Time) error {
	c, err := p.client(in)
	if err != nil {
		return err
	}
	e := &enumeration{client: c, in: in, session: session, since: since}
	if !since.IsZero() {
		e.listed, e.missing = map[int]bool{}, map[int]bool{}
	}
	issues := &feed{client: c, path: []string{"issues"}, only: url.Values{"state": {"all"}}, since: since, take: e.issue}
	if err := issues.read(ctx, &e.horizon); err != nil {
		return err
	}
	if wanted := c.metadata.Comments; wanted != nil && !*wanted {
		return nil
	}
	comments := &feed{client: c, path: []string{"issues", "comments"}, since: since, take: e.comment}
	if err := comments.read(ctx, &e.horizon); err != nil {
		return err
	}
	return e.recover(ctx)
}

// issue dispatches an issue, unless it is a pull request.
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
	if err := json.Unmarshal(raw, &issue); err != nil {
		return err
	}
	return e.session.Dispatch(ctx, issue, at.UTC(), strconv.Itoa(issue.Number))
}

// comment dispatches a comment, unless it is on a pull request.
func (e *enumeration) comment(ctx context.Context, _ head, raw json.RawMessage, at time.Time) error {
	var comment IssueComment
	if err := json.Unmarshal(raw, &comment); err != nil {
		return err
	}
	if strings.Contains(comment.HTMLURL, "/pull/") {
		return nil
	}
	number, err := strconv.Atoi(comment.IssueURL[strings.LastIndexByte(comment.IssueURL, '/')+1:])
	if err == nil && e.listed != nil && !e.listed[number] {
		e.missing[number] = true
	}
	return e.session.Dispatch(ctx, comment, at.UTC(), strconv.FormatInt(comment.ID, 10))
}

// recover asks for the issues that have fresh comments but were not in the list, which lags behind at times by more than the overlap.
func (e *enumeration) recover(ctx context.Context) error {
	for _, number := range slices.Sorted(maps.Keys(e.missing)) {
		if err := e.recoverOne(ctx, number); err != nil {
			return err
		}
	}
	return nil
}

func (e *enumeration) recoverOne(ctx context.Context, number int) error {
	var raw json.RawMessage
	_, err := e.client.get(ctx, e.client.repository("issues", strconv.Itoa(number)), &raw)
	if isGone(err) || err == nil && string(raw) == "null" {
		return nil
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
		return nil
	}
	e.in.Log().WarnContext(ctx, "an issue with a fresh comment was missing from the list", "issue", number)
	at := h.UpdatedAt
	if at.After(e.horizon) {
		at = e.horizon
	}
	return e.issue(ctx, h, raw, at)
}
