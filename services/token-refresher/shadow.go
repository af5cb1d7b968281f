package tokenrefresher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Cells are small values in NATS that all processes share and change by compare-and-set.
type Cells interface {
	// Read returns a cell's value and its revision: nil and 0 for a cell that was never written.
	Read(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Write sets a cell that is still at the given revision. It is false when somebody else was faster.
	Write(ctx context.Context, key string, value []byte, revision uint64) (next uint64, ok bool, err error)
}

// shadow is the newest token of an integration, beside the database: a database that goes back to an earlier state has a refresh token that is spent.
type shadow struct {
	// Version is that of the credentials that the token was stored with. Versions are never issued twice, so the larger one is newer.
	Version int64  `json:"version"`
	KeyID   string `json:"key_id"`
	Sealed  []byte `json:"sealed"`
}

const (
	// castWithin is for how long it is tried to write a shadow.
	castWithin = 5 * time.Second
	castEvery  = 250 * time.Millisecond
)

// cast keeps a token beside the database, unless a newer one is there. When that fails, the token is in the database alone.
func (r *Refresher) cast(ctx context.Context, id uuid.UUID, token contracts.Token, version int64) {
	ctx, cancel := context.WithTimeout(ctx, castWithin)
	defer cancel()
	for {
		done, err := r.castOnce(ctx, id, token, version)
		if done {
			r.Crash("token-refresher: shadow written")
			return
		}
		select {
		case <-ctx.Done():
			r.Log.Warn("a refreshed token was not written to NATS; it is lost if Postgres goes back to an earlier state before the next refresh", "integration", id, "error", err)
			return
		case <-time.After(castEvery):
		}
	}
}

func (r *Refresher) castOnce(ctx context.Context, id uuid.UUID, token contracts.Token, version int64) (done bool, err error) {
	earlier, revision, err := r.readShadow(ctx, id)
	if err != nil {
		return false, err
	}
	if earlier != nil && earlier.Version >= version {
		return true, nil
	}
	plain, err := json.Marshal(token)
	if err != nil {
		return false, errNoObject
	}
	next := shadow{Version: version}
	if next.KeyID, next.Sealed, err = r.Store.SealToken(id, version, plain); err != nil {
		return false, err
	}
	value, err := json.Marshal(next)
	if err != nil {
		return false, err
	}
	_, done, err = r.Shadows.Write(ctx, id.String(), value, revision)
	return done, err
}

// readShadow returns nil where there is none.
func (r *Refresher) readShadow(ctx context.Context, id uuid.UUID) (*shadow, uint64, error) {
	value, revision, err := r.Shadows.Read(ctx, id.String())
	if err != nil || value == nil {
		return nil, revision, err
	}
	found := &shadow{}
	if err := json.Unmarshal(value, found); err != nil {
		return nil, revision, fmt.Errorf("read the shadow of a token: %w", err)
	}
	return found, revision, nil
}

// restore writes the token of the shadow to the database, if it is newer than what the database has. It reports whether it was.
func (r *Refresher) restore(ctx context.Context, a *account) (restored bool, err error) {
	found, _, err := r.readShadow(ctx, a.row.ID)
	if err != nil || found == nil || found.Version <= a.version {
		return false, err
	}
	plain, err := r.Store.OpenToken(a.row.ID, found.Version, found.KeyID, found.Sealed)
	if err != nil {
		// Its key was rotated out. The stored token is all there is.
		r.Log.Warn("a newer token than Postgres has is in NATS, and can't be opened", "integration", a.row.Name, "provider", a.row.Provider, "error", err)
		return false, nil
	}
	var token contracts.Token
	if err := json.Unmarshal(plain, &token); err != nil {
		return false, errNoObject
	}
	if cmp.Or(token.RefreshToken, token.AccessToken) == cmp.Or(a.token.RefreshToken, a.token.AccessToken) {
		return false, nil
	}
	return true, r.putBack(ctx, a, token)
}

// putBack writes a token over older credentials, and makes a new grant of it, in one transaction.
func (r *Refresher) putBack(ctx context.Context, a *account, token contracts.Token) error {
	access := postgres.Access{Who: serviceName, Why: "put back the token that Postgres has lost", At: r.Now()}
	credentials, err := merged(a.credentials, token)
	if err != nil {
		return err
	}
	later := *a
	if later.tokenID, later.token, err = tokenIDOf(credentials); err != nil {
		return err
	}
	var version int64
	err = r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		row, err := tx.IntegrationLock(ctx, a.row.ID)
		if err != nil {
			return fmt.Errorf("lock integration %s: %w", a.row.ID, err)
		}
		if version, err = r.Store.PutCredentials(ctx, tx, row.ID, credentials, a.version, access); err != nil {
			return err
		}
		later.version = version
		if _, err := tx.GrantAdopt(ctx, r.adoption(&later, access.At)); err != nil {
			return fmt.Errorf("note the grant: %w", err)
		}
		if _, err := tx.IntegrationTouch(ctx, access.At, row.ID); err != nil {
			return fmt.Errorf("raise the version of %s: %w", row.ID, err)
		}
		return letGo(ctx, tx, row, access)
	})
	if err != nil {
		return err
	}
	r.Log.Error("Postgres went back to an earlier state and had lost the newest token; it was put back",
		"integration", a.row.Name, "provider", a.row.Provider)
	r.cast(ctx, a.row.ID, later.token, version)
	return nil
}

// rescue puts a token into a database that went back to an earlier state while the upstream was asked for it. Its grant then has a smaller fence than the one that was taken,
// which nothing else brings about.
func (r *Refresher) rescue(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token) (rescued bool, err error) {
	now, err := r.Store.GrantGet(ctx, grant.IntegrationID)
	if err != nil || now.Fence >= grant.Fence {
		return false, err
	}
	earlier, err := r.open(ctx, grant.IntegrationID, postgres.Access{Who: serviceName, Why: "put back a token", At: r.Now()})
	if err != nil || earlier.version > a.version {
		return false, err
	}
	return true, r.putBack(ctx, earlier, token)
}

// compareShadows looks for tokens that Postgres has lost: when the process has started, and each time that Postgres was
// away, because it may have come back with an earlier state.
func (r *Refresher) compareShadows(ctx context.Context) error {
	away := r.away.Load()
	if r.compared && r.comparedAfter == away {
		return nil
	}
	versions := map[uuid.UUID]int64{}
	err := r.Bus.ReadKeys(ctx, wire.BucketGrants, ">", func(v bus.Value) {
		var found shadow
		id, err := uuid.Parse(v.Key)
		if err == nil && json.Unmarshal(v.Data, &found) == nil {
			versions[id] = found.Version
		}
	})
	if err != nil {
		return fmt.Errorf("read the shadows of tokens: %w", err)
	}
	ids := make([]uuid.UUID, 0, len(versions))
	for id := range versions {
		ids = append(ids, id)
	}
	stored, err := r.Store.CredentialsVersions(ctx, ids, r.keys)
	if err != nil {
		return fmt.Errorf("compare the shadows of tokens: %w", err)
	}
	var problems []error
	for _, row := range stored {
		if row.Version >= versions[row.IntegrationID] {
			continue
		}
		a, err := r.open(ctx, row.IntegrationID, postgres.Access{Who: serviceName, Why: "compare the token with NATS", At: r.Now()})
		if err == nil {
			_, err = r.restore(ctx, a)
		}
		if err != nil && !postgres.NotFound(err) {
			problems = append(problems, err)
		}
	}
	r.compared, r.comparedAfter = len(problems) == 0, away
	return errors.Join(problems...)
}
