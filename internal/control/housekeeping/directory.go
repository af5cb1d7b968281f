package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// compareEvery is how often the whole directory is compared with the database.
const compareEvery = time.Minute

// directoryKeeper keeps the directory of the webhook ingress as the database is. Writes are compare-and-set, so that
// every scheduler's process may do it.
type directoryKeeper struct {
	*Keeper
	writer *directory.Writer
	kicks  chan struct{}

	mu      sync.Mutex
	changed map[uuid.UUID]bool
	// inDoubt says that any integration may have changed. Compared is the time of the last comparison of all.
	inDoubt  bool
	compared time.Time
}

// keepDirectory renews the entries of integrations when the feed tells of their change. It compares all at the start,
// each minute, and when the broker has lost them.
func (k *Keeper) keepDirectory(ctx context.Context) error {
	writer, err := directory.NewWriter(ctx, k.Bus)
	if err != nil {
		return err
	}
	d := &directoryKeeper{
		Keeper: k, writer: writer, kicks: make(chan struct{}, 1), changed: map[uuid.UUID]bool{}, inDoubt: true,
	}
	k.Feed.Follow(d.follow)
	return loop.Every(ctx, k.Log, "renew the directory", compareEvery, d.kicks, d.renew)
}

func (k *directoryKeeper) follow(id uuid.UUID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == uuid.Nil {
		k.inDoubt = true
	} else {
		k.changed[id] = true
	}
	loop.Kick(k.kicks)
}

func (k *directoryKeeper) renew(ctx context.Context) error {
	k.mu.Lock()
	ids := slices.Collect(maps.Keys(k.changed))
	clear(k.changed)
	inDoubt := k.inDoubt
	k.inDoubt = false
	k.mu.Unlock()
	err := k.putAll(ctx, ids)
	if err == nil && (inDoubt || k.Now().Sub(k.compared) >= compareEvery) {
		err = k.compare(ctx)
	}
	if err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, id := range ids {
			k.changed[id] = true
		}
		k.inDoubt = k.inDoubt || inDoubt
		time.AfterFunc(k.Settings.DirectoryRetry, func() { loop.Kick(k.kicks) })
	}
	return err
}

// putAll writes entries. An entry that can't be written is tried again later, when all are compared.
func (k *directoryKeeper) putAll(ctx context.Context, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	return setaside.Run(ctx, k.SetAside, setaside.Sweep[uuid.UUID]{
		Kind: setaside.Directory,
		List: func(context.Context, int32) ([]uuid.UUID, error) { return ids, nil },
		Name: func(id uuid.UUID) setaside.Element { return setaside.Of(id, id) },
		Step: func(ctx context.Context, id uuid.UUID) error {
			err := k.writer.Put(
				ctx, id.String(),
				func(ctx context.Context) (*eventsv1.DirectoryEntry, error) { return k.read(ctx, id) },
			)
			if err == nil {
				k.Crash("scheduler: directory entry written")
			}
			return err
		},
	})
}

func (k *directoryKeeper) read(ctx context.Context, id uuid.UUID) (*eventsv1.DirectoryEntry, error) {
	row, err := k.Store.DirectoryRow(ctx, dbsqlc.DirectoryRowParams{ID: id, AuditID: postgres.NewID(), Now: k.Now()})
	if postgres.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read integration %s: %w", id, err)
	}
	return &eventsv1.DirectoryEntry{
		IntegrationId: id.String(), Provider: row.Provider, Name: row.Name, Owner: row.Owner, Status: row.Status,
		Metadata: row.Metadata,
		KeyId:    row.KeyID, Sealed: row.Sealed, Version: row.Version, CredentialsVersion: row.CredentialsVersion,
	}, nil
}

// compare renews the entries that the bucket lacks or has in another version, and removes those of integrations that
// are gone. It does so at most once a minute, unless the bucket is new.
func (k *directoryKeeper) compare(ctx context.Context) error {
	complete, err := k.writer.IsComplete(ctx)
	if err != nil {
		return err
	}
	if complete && k.Now().Sub(k.compared) < compareEvery {
		return nil
	}
	// The bucket is read first: the feed tells of changes in between.
	have, err := k.writer.Versions(ctx)
	if err != nil {
		return err
	}
	rows, err := k.Store.DirectoryVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the versions of integrations: %w", err)
	}
	var behind []uuid.UUID
	for _, row := range rows {
		version, found := have[row.ID.String()]
		if !found ||
			version != (directory.Version{
				Integration: row.Version, Credentials: row.CredentialsVersion, Key: row.KeyID,
			}) {
			behind = append(behind, row.ID)
		}
		delete(have, row.ID.String())
	}
	var unreadable error
	for key := range have {
		id, err := uuid.Parse(key)
		if err != nil {
			unreadable = errors.Join(unreadable, fmt.Errorf("the directory has the key %q", key))
			continue
		}
		behind = append(behind, id)
	}
	if err := k.putAll(ctx, behind); err != nil {
		return err
	}
	if !complete {
		if err := k.writer.Complete(ctx); err != nil {
			return err
		}
	}
	k.compared = k.Now()
	return unreadable
}
