package github

import (
	"context"
	"errors"
	"net/http"
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

// isRenamed reports whether a delivery about a repository of another name is about the integration's, which was renamed or moved: GitHub redirects
// requests to the new name, but deliveries have the new name alone. Ids stay.
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
		var repository struct {
			ID int64 `json:"id"`
		}
		_, err = c.get(ctx, c.repository(), &repository)
		if failed, ok := errors.AsType[*Error](err); ok && failed.Status == http.StatusNotFound {
			err = nil // deleted, or out of sight: then no delivery is about it
		}
		if err != nil {
			return false, err
		}
		id = repository.ID
		p.ids.put(name, id, time.Now())
	}
	if id != d.Repository.ID {
		return false, nil
	}
	in.Log().Warn("the repository has another name by now; set owner and repo in the integration's metadata",
		"was", metadata.Owner+"/"+metadata.Repo, "is", d.Repository.FullName)
	return true, nil
}
