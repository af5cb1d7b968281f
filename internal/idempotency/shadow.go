package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// shadow notes in NATS that a request with a key was sent. When the database is restored to an earlier state, it loses
// the row of the key, and the shadow remains.
type shadow struct {
	// Owner is the claim whose request was sent.
	Owner       uuid.UUID `json:"owner"`
	Fingerprint []byte    `json:"fingerprint"`
	// Free says that the request certainly had no effect.
	Free bool `json:"free,omitempty"`
}

// ErrShadowAway means that the shadow can't be written, so that nothing was sent.
var ErrShadowAway = errors.New("NATS can't take the note that a request with an idempotency key is sent")

// Cast notes that the claim's request is about to be sent. It returns who has sent it before, if that is not what the
// database says: previous is the last owner that the database knows of. Where the upstream recognises keys, a request
// that is sent twice does no harm, and has no shadow.
func (l *Ledger) Cast(ctx context.Context, claim *Claim, previous uuid.UUID) (*Held, error) {
	if l.shadows == nil || claim.Deduped {
		return nil, nil
	}
	earlier, err := l.cast(ctx, claim, previous)
	if err != nil {
		return nil, errors.Join(ErrShadowAway, err)
	}
	if earlier == nil {
		return nil, nil
	}
	l.log.Error("a request with an idempotency key was sent before, and Postgres has forgotten it; it is not sent "+
		"again before its outcome is looked up",
		"provider", claim.Provider, "integration", claim.Integration, "key", claim.Key)
	return &Held{State: Unknown, Fingerprint: earlier.Fingerprint, LeaseUntil: claim.Now}, nil
}

// cast writes the shadow of a claim. It returns the earlier shadow if the database does not know its owner. The claim's
// shadow replaces it even then, because the claim's row is what an operator settles.
func (l *Ledger) cast(ctx context.Context, claim *Claim, previous uuid.UUID) (forgotten *shadow, err error) {
	value, err := json.Marshal(shadow{Owner: claim.Owner, Fingerprint: claim.Fingerprint})
	if err != nil {
		return nil, err
	}
	revision := uint64(0)
	for {
		next, ok, err := l.shadows.Write(ctx, claim.shadowKey(), value, revision)
		if err != nil {
			return nil, err
		}
		if ok {
			claim.shadow = next
			return forgotten, nil
		}
		var found []byte
		if found, revision, err = l.shadows.Read(ctx, claim.shadowKey()); err != nil {
			return nil, err
		}
		if revision == 0 {
			// It has expired meanwhile.
			continue
		}
		earlier := &shadow{}
		if err := json.Unmarshal(found, earlier); err != nil {
			return nil, fmt.Errorf("read the shadow of an idempotency key: %w", err)
		}
		if !earlier.Free && earlier.Owner != previous && earlier.Owner != claim.Owner {
			forgotten = earlier
		}
	}
}

// freeShadow notes that the claim's request had no effect, before the database is updated. If it fails, the database
// still knows the owner.
func (l *Ledger) freeShadow(ctx context.Context, claim Claim) {
	if claim.shadow == 0 {
		return
	}
	value, err := json.Marshal(shadow{Owner: claim.Owner, Fingerprint: claim.Fingerprint, Free: true})
	if err == nil {
		_, _, err = l.shadows.Write(ctx, claim.shadowKey(), value, claim.shadow)
	}
	if err != nil {
		l.log.Debug("the shadow of an idempotency key was not freed", "error", err)
	}
}

// shadowKey is the name of the claim's shadow.
func (c Claim) shadowKey() string {
	sum := sha256.Sum256([]byte(c.Key))
	return fmt.Sprintf("%s.%d.%s", c.Integration, c.Hop, hex.EncodeToString(sum[:]))
}
