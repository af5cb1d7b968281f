package upstream

import (
	"strings"
	"time"
)

// repository is the repository as GitHub describes it. Most of it is the addresses of what this server does not have.
func (r renderer) repository() map[string]any {
	created := r.u.rule.first
	if created.IsZero() {
		created = newest()
	}
	created = created.AddDate(-3, 0, 0)
	fields := map[string]any{
		"id": 1, "node_id": nodeID("R", 1), "name": r.u.opts.Repo, "full_name": r.u.opts.Owner + "/" + r.u.opts.Repo,
		"owner": r.user(r.u.rule.random("owner", 1)), "private": false, "html_url": r.htmlURL(), "description": "Issues made by rule", "fork": false, "url": r.repoURL(),
		"created_at": created.Format(time.RFC3339), "updated_at": newest().Format(time.RFC3339), "pushed_at": newest().Format(time.RFC3339),
		"git_url": "git:" + strings.TrimPrefix(r.htmlURL(), "http:") + ".git", "ssh_url": "git@localhost:" + r.u.opts.Owner + "/" + r.u.opts.Repo + ".git",
		"clone_url": r.htmlURL() + ".git", "svn_url": r.htmlURL(), "homepage": nil, "mirror_url": nil, "language": nil, "license": nil,
		"size": 1, "stargazers_count": 8, "watchers_count": 8, "watchers": 8, "forks_count": 0, "forks": 0, "network_count": 0, "subscribers_count": 8,
		"open_issues_count": r.u.opts.Issues, "open_issues": r.u.opts.Issues, "default_branch": "main", "visibility": "public",
		"has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false, "has_discussions": false, "archived": false, "disabled": false,
	}
	// Each is the address of something within the repository.
	for name, path := range map[string]string{
		"archive_url": "{archive_format}{/ref}", "assignees_url": "assignees{/user}", "blobs_url": "git/blobs{/sha}", "branches_url": "branches{/branch}",
		"collaborators_url": "collaborators{/collaborator}", "comments_url": "comments{/number}", "commits_url": "commits{/sha}",
		"compare_url": "compare/{base}...{head}", "contents_url": "contents/{+path}", "contributors_url": "contributors", "deployments_url": "deployments",
		"downloads_url": "downloads", "events_url": "events", "forks_url": "forks", "git_commits_url": "git/commits{/sha}", "git_refs_url": "git/refs{/sha}",
		"git_tags_url": "git/tags{/sha}", "hooks_url": "hooks", "issue_comment_url": "issues/comments{/number}", "issue_events_url": "issues/events{/number}",
		"issues_url": "issues{/number}", "keys_url": "keys{/key_id}", "labels_url": "labels{/name}", "languages_url": "languages", "merges_url": "merges",
		"milestones_url": "milestones{/number}", "notifications_url": "notifications{?since,all,participating}", "pulls_url": "pulls{/number}",
		"releases_url": "releases{/id}", "stargazers_url": "stargazers", "statuses_url": "statuses/{sha}", "subscribers_url": "subscribers",
		"subscription_url": "subscription", "tags_url": "tags", "teams_url": "teams", "trees_url": "git/trees{/sha}",
	} {
		fields[name] = r.repoURL() + "/" + path
	}
	return fields
}
