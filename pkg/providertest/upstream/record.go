package upstream

import (
	"encoding/json"
	"time"
)

// The types below have the fields of GitHub's schemas, in GitHub's order.

type issueJSON struct {
	URL                   string          `json:"url"`
	RepositoryURL         string          `json:"repository_url"`
	LabelsURL             string          `json:"labels_url"`
	CommentsURL           string          `json:"comments_url"`
	EventsURL             string          `json:"events_url"`
	HTMLURL               string          `json:"html_url"`
	ID                    int64           `json:"id"`
	NodeID                string          `json:"node_id"`
	Number                int             `json:"number"`
	Title                 string          `json:"title"`
	User                  *userJSON       `json:"user"`
	Labels                []labelJSON     `json:"labels"`
	State                 string          `json:"state"`
	Locked                bool            `json:"locked"`
	Assignee              *userJSON       `json:"assignee"`
	Assignees             []*userJSON     `json:"assignees"`
	Milestone             *milestoneJSON  `json:"milestone"`
	Comments              int             `json:"comments"`
	CreatedAt             time.Time       `json:"created_at"`
	UpdatedAt             time.Time       `json:"updated_at"`
	ClosedAt              *time.Time      `json:"closed_at"`
	AuthorAssociation     string          `json:"author_association"`
	ActiveLockReason      *string         `json:"active_lock_reason"`
	Draft                 *bool           `json:"draft,omitempty"`
	PullRequest           json.RawMessage `json:"pull_request,omitempty"`
	Body                  *string         `json:"body"`
	ClosedBy              *userJSON       `json:"closed_by"`
	Reactions             reactionsJSON   `json:"reactions"`
	TimelineURL           string          `json:"timeline_url"`
	PerformedViaGitHubApp *struct{}       `json:"performed_via_github_app"`
	StateReason           *string         `json:"state_reason"`
}

type commentJSON struct {
	URL                   string        `json:"url"`
	HTMLURL               string        `json:"html_url"`
	IssueURL              string        `json:"issue_url"`
	ID                    int64         `json:"id"`
	NodeID                string        `json:"node_id"`
	User                  *userJSON     `json:"user"`
	CreatedAt             time.Time     `json:"created_at"`
	UpdatedAt             time.Time     `json:"updated_at"`
	Body                  string        `json:"body"`
	AuthorAssociation     string        `json:"author_association"`
	Reactions             reactionsJSON `json:"reactions"`
	PerformedViaGitHubApp *struct{}     `json:"performed_via_github_app"`
}

type userJSON struct {
	Login             string `json:"login"`
	ID                int64  `json:"id"`
	NodeID            string `json:"node_id"`
	AvatarURL         string `json:"avatar_url"`
	GravatarID        string `json:"gravatar_id"`
	URL               string `json:"url"`
	HTMLURL           string `json:"html_url"`
	FollowersURL      string `json:"followers_url"`
	FollowingURL      string `json:"following_url"`
	GistsURL          string `json:"gists_url"`
	StarredURL        string `json:"starred_url"`
	SubscriptionsURL  string `json:"subscriptions_url"`
	OrganizationsURL  string `json:"organizations_url"`
	ReposURL          string `json:"repos_url"`
	EventsURL         string `json:"events_url"`
	ReceivedEventsURL string `json:"received_events_url"`
	Type              string `json:"type"`
	UserViewType      string `json:"user_view_type"`
	SiteAdmin         bool   `json:"site_admin"`
}

type labelJSON struct {
	ID          int64   `json:"id"`
	NodeID      string  `json:"node_id"`
	URL         string  `json:"url"`
	Name        string  `json:"name"`
	Color       string  `json:"color"`
	Default     bool    `json:"default"`
	Description *string `json:"description"`
}

type milestoneJSON struct {
	URL          string     `json:"url"`
	HTMLURL      string     `json:"html_url"`
	LabelsURL    string     `json:"labels_url"`
	ID           int64      `json:"id"`
	NodeID       string     `json:"node_id"`
	Number       int        `json:"number"`
	Title        string     `json:"title"`
	Description  *string    `json:"description"`
	Creator      *userJSON  `json:"creator"`
	OpenIssues   int        `json:"open_issues"`
	ClosedIssues int        `json:"closed_issues"`
	State        string     `json:"state"`
	CreatedAt    time.Time  `json:"created_at"`
	UpdatedAt    time.Time  `json:"updated_at"`
	DueOn        *time.Time `json:"due_on"`
	ClosedAt     *time.Time `json:"closed_at"`
}

type reactionsJSON struct {
	URL        string `json:"url"`
	TotalCount int    `json:"total_count"`
	PlusOne    int    `json:"+1"`
	MinusOne   int    `json:"-1"`
	Laugh      int    `json:"laugh"`
	Hooray     int    `json:"hooray"`
	Confused   int    `json:"confused"`
	Heart      int    `json:"heart"`
	Rocket     int    `json:"rocket"`
	Eyes       int    `json:"eyes"`
}

type pullJSON struct {
	URL      string     `json:"url"`
	HTMLURL  string     `json:"html_url"`
	DiffURL  string     `json:"diff_url"`
	PatchURL string     `json:"patch_url"`
	MergedAt *time.Time `json:"merged_at"`
}
