package github

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Issue is an issue as GitHub's API describes it. Fields that have none here are in Raw.
type Issue struct {
	ID                int64      `json:"id"`
	NodeID            string     `json:"node_id"`
	Number            int        `json:"number"`
	URL               string     `json:"url"`
	HTMLURL           string     `json:"html_url"`
	Title             string     `json:"title"`
	Body              string     `json:"body"`
	State             string     `json:"state"`
	StateReason       string     `json:"state_reason"`
	User              *User      `json:"user"`
	Labels            []Label    `json:"labels"`
	Assignees         []User     `json:"assignees"`
	Milestone         *Milestone `json:"milestone"`
	Locked            bool       `json:"locked"`
	Comments          int        `json:"comments"`
	AuthorAssociation string     `json:"author_association"`
	CreatedAt         time.Time  `json:"created_at"`
	UpdatedAt         time.Time  `json:"updated_at"`
	ClosedAt          *time.Time `json:"closed_at"`

	// Raw is the record as GitHub sent it. An issue that has it is encoded as Raw, whatever its other fields are.
	Raw json.RawMessage `json:"-"`
}

// IssueComment is a comment on an issue. Fields that have none here are in Raw.
type IssueComment struct {
	ID                int64     `json:"id"`
	NodeID            string    `json:"node_id"`
	URL               string    `json:"url"`
	HTMLURL           string    `json:"html_url"`
	IssueURL          string    `json:"issue_url"`
	Body              string    `json:"body"`
	User              *User     `json:"user"`
	AuthorAssociation string    `json:"author_association"`
	CreatedAt         time.Time `json:"created_at"`
	UpdatedAt         time.Time `json:"updated_at"`

	// Raw is the record as GitHub sent it. A comment that has it is encoded as Raw, whatever its other fields are.
	Raw json.RawMessage `json:"-"`
}

// IssueNumber is the number of the issue that the comment is on, from its IssueURL; false when that has none.
func (c IssueComment) IssueNumber() (int, bool) {
	number, err := strconv.Atoi(c.IssueURL[strings.LastIndexByte(c.IssueURL, '/')+1:])
	return number, err == nil
}

// User is a person, an organization or a bot. GitHub sends none for an account that is gone.
type User struct {
	ID      int64  `json:"id"`
	Login   string `json:"login"`
	Type    string `json:"type"`
	HTMLURL string `json:"html_url"`
}

// Label is a label of an issue.
type Label struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Color string `json:"color"`
}

// Milestone is the milestone of an issue.
type Milestone struct {
	ID     int64      `json:"id"`
	Number int        `json:"number"`
	Title  string     `json:"title"`
	State  string     `json:"state"`
	DueOn  *time.Time `json:"due_on"`
}

// UnmarshalJSON reads an issue and keeps the whole of it in Raw.
func (i *Issue) UnmarshalJSON(raw []byte) error {
	type fields Issue // without methods
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("read issue: %w", err)
	}
	*i = Issue(f)
	i.Raw = bytes.Clone(raw)
	return nil
}

// MarshalJSON writes Raw, or the fields when there is none.
func (i Issue) MarshalJSON() ([]byte, error) {
	if len(i.Raw) > 0 {
		return i.Raw, nil
	}
	type fields Issue
	return json.Marshal(fields(i))
}

// UnmarshalJSON reads a comment and keeps the whole of it in Raw.
func (c *IssueComment) UnmarshalJSON(raw []byte) error {
	type fields IssueComment
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("read comment: %w", err)
	}
	*c = IssueComment(f)
	c.Raw = bytes.Clone(raw)
	return nil
}

// MarshalJSON writes Raw, or the fields when there is none.
func (c IssueComment) MarshalJSON() ([]byte, error) {
	if len(c.Raw) > 0 {
		return c.Raw, nil
	}
	type fields IssueComment
	return json.Marshal(fields(c))
}

// UnmarshalJSON reads a label, which old records have as its name alone.
func (l *Label) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(raw, []byte(`"`)) {
		*l = Label{}
		return json.Unmarshal(raw, &l.Name)
	}
	type fields Label
	return json.Unmarshal(raw, (*fields)(l))
}
