package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// idFor is how long a repository's id is taken to be that of its name.
	idFor = 10 * time.Minute
	// mostIDs bounds how many are remembered.
	mostIDs = 4096
)

// ids remembers the ids of repositories by their names as integrations have them, so that an organization's webhook does not cost a request for each
// delivery about another repository. A nil one remembers nothing.
type ids struct {
	mu     sync.Mutex
	byName map[string]knownID
}

type knownID struct {
	id    int64
	until time.Time
}

func newIDs() *ids { return &ids{byName: map[string]knownID{}} }

func (i *ids) get(name string, now time.Time) (int64, bool) {
	if i == nil {
		return 0, false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	known, ok := i.byName[name]
	return known.id, ok && now.Before(known.until)
}

func (i *ids) put(name string, id int64, now time.Time) {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.byName) >= mostIDs {
		clear(i.byName)
	}
	i.byName[name] = knownID{id: id, until: now.Add(idFor)}
}

// repository is what GitHub says of a repository.
type repository struct {
	ID       int64  `json:"id"`
	FullName string `json:"full_name"`
}

// itself asks for the repository. GitHub redirects the name that it had before.
func (c *client) itself(ctx context.Context) (is repository, err error) {
	_, err = c.get(ctx, c.repository(), &is)
	return is, err
}

// isRenamed reports whether a delivery about a repository of another name is about the integration's, which was renamed or moved: GitHub redirects
// requests to the new name, but deliveries have the new name alone. Ids stay. While the integration's repository is not
// found, nobody can tell, and the delivery is tried again: GitHub answers 404 for a moment also while it renames.
func (p Provider) isRenamed(ctx context.Context, in *contracts.Integration, metadata Metadata, d delivery) (bool, error) {
	if d.Repository.ID == 0 {
		return false, nil
	}
	name := in.ID() + " " + metadata.Owner + "/" + metadata.Repo
	id, known := p.ids.get(name, time.Now())
	if !known {
		c, err := p.client(in)
		if err != nil {
			return false, err
		}
		is, err := c.itself(ctx)
		if failed, ok := errors.AsType[*Error](err); ok && failed.Status == http.StatusNotFound {
			return false, fmt.Errorf("tell whether %s is a new name of the repository: %w", d.Repository.FullName, failed)
		}
		if err != nil {
			return false, err
		}
		id = is.ID
		p.ids.put(name, id, time.Now())
	}
	if id != d.Repository.ID {
		return false, nil
	}
	tellOfNewName(ctx, in, metadata, d.Repository.FullName)
	return true, nil
}

// tellIfRenamed tells of another name if the upstream has redirected a sync. A webhook that comes to the provider's own
// address finds its integration by the name alone, and is ignored until the name is right.
func (e *enumeration) tellIfRenamed(ctx context.Context) {
	if !e.client.redirected {
		return
	}
	is, err := e.client.itself(ctx)
	if err != nil {
		e.in.Log().DebugContext(ctx, "could not ask whether the repository was renamed", "error", err)
		return
	}
	if metadata := e.client.metadata; is.FullName != "" && !strings.EqualFold(is.FullName, metadata.Owner+"/"+metadata.Repo) {
		tellOfNewName(ctx, e.in, metadata, is.FullName)
	}
}

func tellOfNewName(ctx context.Context, in *contracts.Integration, metadata Metadata, is string) {
	in.Log().WarnContext(ctx, "the repository has another name by now; set owner and repo in the integration's metadata: webhooks to the provider's own address are ignored until then",
		"was", metadata.Owner+"/"+metadata.Repo, "is", is)
}
