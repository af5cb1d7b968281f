// Package octokit fetches issues and comments that GitHub itself has sent, out of packages that Octokit publishes on npm, for the tests that prove a sync
// with real payloads. They are fetched when such a test runs and never kept in this repository.
package octokit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// Unasked is why a test that fetches packages is skipped.
const Unasked = "fetches packages of npm: set PROVE=1, or run make prove"

// Asked reports whether the tests that fetch packages shall run.
func Asked() bool { return os.Getenv("PROVE") == "1" || os.Getenv("TRIBUTARY_PROVE") == "1" }

// Fetch returns every distinct issue and comment of the packages, in an order that is always the same. It is an error when npm can't fetch them, or when
// they hold suspiciously little.
func Fetch(ctx context.Context) ([]Repository, error) {
	found := finds{issues: map[string]bool{}, comments: map[string]bool{}}
	for _, name := range []string{"@octokit/webhooks-examples@7.6.1", "@octokit/fixtures@23.1.2"} {
		if err := unpack(ctx, name, found.read); err != nil {
			return nil, fmt.Errorf("fetch %s: %w", name, err)
		}
	}
	const leastIssues, leastComments = 20, 5
	if len(found.issues) < leastIssues || len(found.comments) < leastComments {
		return nil, fmt.Errorf("found %d issues and %d comments only: the packages have another form than expected", len(found.issues), len(found.comments))
	}
	return found.repositories()
}

// Repository holds records that can stand in one repository: no number and no id is there twice.
type Repository struct {
	// Issues are of the shape of GitHub's REST API, pull requests among them.
	Issues []json.RawMessage
	// Comments are those on issues and on pull requests.
	Comments []json.RawMessage

	taken map[string]bool
}

// Serve adds the records to an upstream.
func (r Repository) Serve(u *upstream.Upstream) error {
	for _, raw := range r.Issues {
		if err := u.AddRaw(raw, false); err != nil {
			return err
		}
	}
	for _, raw := range r.Comments {
		if err := u.AddRaw(raw, true); err != nil {
			return err
		}
	}
	return nil
}

// Items are the records that a sync has to hand over, by event type and external id with a space between: all but pull requests and the
// comments on them.
func (r Repository) Items() (map[string]json.RawMessage, error) {
	items := map[string]json.RawMessage{}
	for _, raw := range r.Issues {
		h, err := headOf(raw)
		if err != nil {
			return nil, err
		}
		if h.PullRequest == nil {
			items["github.Issue "+h.Number.String()] = raw
		}
	}
	for _, raw := range r.Comments {
		h, err := headOf(raw)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(h.HTMLURL, "/pull/") {
			items["github.IssueComment "+h.ID.String()] = raw
		}
	}
	return items, nil
}

// head is what tells records apart.
type head struct {
	ID          json.Number `json:"id"`
	Number      json.Number `json:"number"`
	HTMLURL     string      `json:"html_url"`
	PullRequest any         `json:"pull_request"`
}

func headOf(raw json.RawMessage) (head, error) {
	var h head
	if err := json.Unmarshal(raw, &h); err != nil {
		return head{}, fmt.Errorf("read a record of Octokit's: %w", err)
	}
	return h, nil
}

// finds are the records found so far, as JSON.
type finds struct{ issues, comments map[string]bool }

// read collects from a file of a package.
func (f finds) read(name string, content []byte) error {
	if !strings.HasSuffix(name, ".json") {
		return nil
	}
	// Numbers are kept as they are written: some are too long for a float.
	decoder := json.NewDecoder(strings.NewReader(string(content)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	return f.collect(value)
}

// collect finds the issues and comments within a value.
func (f finds) collect(value any) error {
	switch v := value.(type) {
	case []any:
		for _, inner := range v {
			if err := f.collect(inner); err != nil {
				return err
			}
		}
	case map[string]any:
		_, hasNumber := v["number"].(json.Number)
		_, hasUpdate := v["updated_at"].(string)
		_, hasEvents := v["events_url"].(string)
		link, _ := v["issue_url"].(string)
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		switch {
		case hasUpdate && hasNumber && hasEvents && v["id"] != nil:
			f.issues[string(raw)] = true
		case hasUpdate && strings.Contains(link, "/issues/") && v["id"] != nil:
			f.comments[string(raw)] = true
		}
		for _, inner := range v {
			if err := f.collect(inner); err != nil {
				return err
			}
		}
	}
	return nil
}

// repositories distributes what was found, each record to the first repository where it has room.
func (f finds) repositories() ([]Repository, error) {
	var all []Repository
	place := func(ids ...string) *Repository {
		i := slices.IndexFunc(all, func(r Repository) bool {
			return !slices.ContainsFunc(ids, func(id string) bool { return r.taken[id] })
		})
		if i < 0 {
			i = len(all)
			all = append(all, Repository{taken: map[string]bool{}})
		}
		for _, id := range ids {
			all[i].taken[id] = true
		}
		return &all[i]
	}
	for _, raw := range slices.Sorted(maps.Keys(f.issues)) {
		h, err := headOf(json.RawMessage(raw))
		if err != nil {
			return nil, err
		}
		r := place("issue id "+h.ID.String(), "issue number "+h.Number.String())
		r.Issues = append(r.Issues, json.RawMessage(raw))
	}
	for _, raw := range slices.Sorted(maps.Keys(f.comments)) {
		h, err := headOf(json.RawMessage(raw))
		if err != nil {
			return nil, err
		}
		r := place("comment id " + h.ID.String())
		r.Comments = append(r.Comments, json.RawMessage(raw))
	}
	return all, nil
}
