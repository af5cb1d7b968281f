// Package directory is what services know of integrations without a database: a bucket with an entry for each, fed by
// schedulers from Postgres. The webhook ingress finds routes and secrets in it, so that an outage of Postgres loses no
// webhook. Credentials are in it as they are in Postgres, sealed.
package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// completeKey is written once every integration has an entry. In a bucket that lacks it, an entry that is missing may
// only not be written yet.
const completeKey = "complete"

// Entry is one integration.
type Entry struct {
	*contracts.Integration
	// Status is active, paused or disabled.
	Status string
	// Problem says why the credentials can't be opened; without them no signature can be verified.
	Problem error
}

// Directory follows the bucket. It is safe for concurrent use.
type Directory struct {
	bus  *bus.Bus
	ring *secret.Ring
	log  *slog.Logger

	mu       sync.RWMutex
	entries  map[string]*Entry
	names    map[string]*Entry
	provider map[string][]*Entry
	// complete is set when the bucket has every integration, and read once all that was in the bucket at the beginning
	// is taken over: the bucket says early that it is complete, and entries that were changed since come behind that.
	complete, read bool
}

// New returns a directory, which knows nothing before [Directory.Run] runs.
func New(b *bus.Bus, ring *secret.Ring, log *slog.Logger) *Directory {
	return &Directory{
		bus: b, ring: ring, log: log, entries: map[string]*Entry{}, names: map[string]*Entry{},
		provider: map[string][]*Entry{},
	}
}

// Ready returns an error until everything is known. From then on it is nil: what is known stays while the broker is
// away.
func (d *Directory) Ready() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.complete || !d.read {
		return errors.New("the directory of integrations is not read yet; it is filled by a scheduler")
	}
	return nil
}

// Find returns the integration of an id or a name, nil when there is none.
func (d *Directory) Find(name string) *Entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if entry := d.entries[name]; entry != nil {
		return entry
	}
	return d.names[name]
}

// Of returns the integrations of a provider, in the order of their ids. The slice is not to be changed.
func (d *Directory) Of(provider string) []*Entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.provider[provider]
}

// Run follows the bucket until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	bucket, err := d.bus.Bucket(ctx, wire.BucketDirectory)
	if err != nil {
		return err
	}
	return d.bus.FollowKeys(ctx, bucket, ">", d.apply, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.read = true
	})
}

// apply takes one change over.
func (d *Directory) apply(v bus.Value) {
	key, value := v.Key, v.Data
	if key == completeKey {
		d.mu.Lock()
		d.complete = d.complete || value != nil
		d.mu.Unlock()
		return
	}
	var entry *Entry
	if value != nil {
		read := &eventsv1.DirectoryEntry{}
		if err := proto.Unmarshal(value, read); err != nil {
			d.log.Error("directory entry can't be read", "integration", key, "error", err)
			return
		}
		entry = d.open(read)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.entries[key]; old != nil {
		// A copy, for others may hold the slice.
		d.provider[old.Provider()] = slices.DeleteFunc(slices.Clone(d.provider[old.Provider()]), func(e *Entry) bool {
			return e == old
		})
		if d.names[old.Name()] == old {
			delete(d.names, old.Name())
		}
	}
	delete(d.entries, key)
	if entry == nil {
		return
	}
	d.entries[key], d.names[entry.Name()] = entry, entry
	all := append(slices.Clone(d.provider[entry.Provider()]), entry)
	slices.SortFunc(all, func(a, b *Entry) int { return strings.Compare(a.ID(), b.ID()) })
	d.provider[entry.Provider()] = all
}

func (d *Directory) open(read *eventsv1.DirectoryEntry) *Entry {
	entry := &Entry{Status: read.GetStatus()}
	fields := contracts.IntegrationFields{
		ID: read.GetIntegrationId(), Provider: read.GetProvider(), Name: read.GetName(), Owner: read.GetOwner(),
		Metadata: read.GetMetadata(),
		// Who verifies makes no requests.
		Client: &http.Client{Transport: refusing{}},
		Log:    d.log.With("provider", read.GetProvider(), "integration", read.GetName()),
	}
	if len(read.GetSealed()) > 0 {
		id, err := uuid.Parse(read.GetIntegrationId())
		if err == nil {
			place := secret.Place{Row: id[:], Version: read.GetCredentialsVersion()}
			fields.Credentials, err = d.ring.Open(read.GetKeyId(), read.GetSealed(), place)
		}
		if err != nil {
			entry.Problem = fmt.Errorf("open credentials of %s: %w", read.GetIntegrationId(), err)
			d.log.Error("credentials in the directory can't be opened; webhooks to this integration are refused",
				"integration", read.GetName(), "error", err)
		}
	}
	entry.Integration = contracts.NewIntegration(fields)
	return entry
}

// refusing is the transport of who may make no requests.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, contracts.Permanent(errors.New("no requests can be made while a webhook is verified"))
}
