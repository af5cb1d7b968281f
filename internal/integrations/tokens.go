package integrations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// earliest bounds how long before its expiry another token is asked for. It is a tenth of what the token had left when it was first seen here. From latest on it is
	// not used any more: for the way to the upstream, for clocks that differ, and for upstreams that count in whole seconds.
	earliest = 30 * time.Second
	latest   = time.Second
	// askAgain is how long nobody asks after an answer that brought no other token.
	askAgain = 10 * time.Second
	// askWithin is how long an answer may take.
	askWithin = 20 * time.Second
	// deferFor is how long work is put off when nobody says for how long.
	deferFor = 5 * time.Second
)

// TokenState is what token-refreshers tell of an integration's token.
type TokenState struct {
	// Usable says that the integration has a token, under the version.
	Usable bool
	// Version is the integration's, from which on its credentials hold the token.
	Version int64
	// RetryAfter is when to ask again, where the token is not usable; 0 means that nobody knows.
	RetryAfter time.Duration
	// Reason says why it isn't.
	Reason string
}

// Refreshers get new tokens.
type Refreshers interface {
	// Token asks for a token other than the one that [TokenID] names: it has expired here, or the upstream has refused it.
	Token(ctx context.Context, provider, integration, have string, refused bool) (TokenState, error)
}

// TokenID names the tokens of an integration without giving them away, and is empty where there are none.
func TokenID(in *contracts.Integration) (string, contracts.Token, error) {
	token, err := contracts.CredentialsOf[contracts.Token](in)
	if err != nil || token.AccessToken == "" && token.RefreshToken == "" {
		return "", token, err
	}
	sum := sha256.Sum256([]byte(token.AccessToken + "\x00" + token.RefreshToken))
	return hex.EncodeToString(sum[:8]), token, nil
}

// tokenSource is what the tokens of one process share.
type tokenSource struct {
	refreshers Refreshers
	// asking has everybody who waits for the same token ask once.
	asking singleflight.Group
}

func newTokenSource(refreshers Refreshers) *tokenSource {
	if refreshers == nil {
		return nil
	}
	return &tokenSource{refreshers: refreshers}
}

// tokens are those of one integration.
type tokens struct {
	*tokenSource
	loader   *Loader
	loaded   *loaded
	provider contracts.Provider
	seen     atomic.Pointer[seenToken]
}

// seenToken is the token of one state of the integration.
type seenToken struct {
	value *contracts.Integration
	id    string
	// until is when another one is asked for, ends when it is not used any more; zero means never.
	until, ends time.Time
	// quiet is until when nobody asks, in Unix nanoseconds, because the last answer brought no other token.
	quiet atomic.Int64
}

var _ outbound.Tokens = (*tokens)(nil)

// tokensOf returns nil for providers without tokens.
func (l *Loader) tokensOf(in *loaded, provider contracts.Provider) outbound.Tokens {
	if _, ok := provider.(contracts.OAuth2); !ok || l.tokens == nil {
		return nil
	}
	return &tokens{tokenSource: l.tokens, loader: l, loaded: in, provider: provider}
}

// look returns the token that is in memory, without decoding it again.
func (t *tokens) look() (*seenToken, error) {
	value := t.loader.now(t.loaded).value
	if seen := t.seen.Load(); seen != nil && seen.value == value {
		return seen, nil
	}
	id, token, err := TokenID(value)
	if err != nil {
		return nil, err
	}
	seen := &seenToken{value: value, id: id}
	if token.ExpiresAt != nil {
		left := max(token.ExpiresAt.Sub(t.loader.clock()), 0)
		seen.until, seen.ends = token.ExpiresAt.Add(-min(max(left/10, latest), earliest)), token.ExpiresAt.Add(-latest)
	}
	t.seen.Store(seen)
	return seen, nil
}

func (t *tokens) Fresh(ctx context.Context) (*contracts.Integration, error) {
	seen, err := t.look()
	if err != nil {
		return nil, err
	}
	now := t.loader.clock()
	if seen.id != "" && (seen.until.IsZero() || now.Before(seen.until)) {
		return seen.value, nil
	}
	_, signs := t.provider.(contracts.Authenticator)
	if seen.id == "" && signs {
		// It has other credentials than tokens.
		return seen.value, nil
	}
	lives := seen.id != "" && now.Before(seen.ends)
	if lives && now.UnixNano() < seen.quiet.Load() {
		return seen.value, nil
	}
	other, err := t.ask(ctx, seen, false)
	if lives && (err != nil || other == nil) {
		seen.quiet.Store(now.Add(min(askAgain, seen.ends.Sub(now)/4)).UnixNano())
		return seen.value, nil //nolint:nilerr // it is good for a moment still
	}
	if err != nil {
		return nil, err
	}
	if other != nil {
		// It may have been long on the way.
		if found, err := t.look(); err == nil && (found.ends.IsZero() || t.loader.clock().Before(found.ends)) {
			return found.value, nil
		}
	}
	return nil, contracts.RetryAfter(jittered(time.Second), contracts.ErrNoToken)
}

func (t *tokens) Renew(ctx context.Context, refused *contracts.Integration) (*contracts.Integration, error) {
	seen, err := t.look()
	if err != nil {
		return nil, err
	}
	id, _, err := TokenID(refused)
	if err != nil {
		return nil, err
	}
	now := t.loader.clock()
	switch {
	case seen.id != id && seen.id != "":
		return seen.value, nil
	case id == "", now.UnixNano() < seen.quiet.Load():
		return refused, nil
	}
	other, err := t.ask(ctx, seen, true)
	if err == nil && other == nil {
		seen.quiet.Store(now.Add(askAgain).UnixNano())
		return refused, nil
	}
	return other, err
}

// ask has a token-refresher get another token than the one in memory, and returns the integration with it; nil if there is no other.
func (t *tokens) ask(ctx context.Context, seen *seenToken, refused bool) (*contracts.Integration, error) {
	integration := t.loaded.id
	answers := t.asking.DoChan(fmt.Sprint(integration, seen.id, refused), func() (any, error) {
		// Who asked first may leave; the others still wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
		defer cancel()
		if found, err := t.look(); err == nil && found.id != seen.id {
			return nil, nil // another has asked since this one looked
		}
		return nil, t.fetch(ctx, integration, seen, refused)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case answer := <-answers:
		if answer.Err != nil {
			return nil, answer.Err
		}
	}
	found, err := t.look()
	if err != nil || found.id == seen.id {
		return nil, err
	}
	return found.value, nil
}

// fetch asks, and reads the integration as the answer has it. Any reason why there is no token is a deferral.
func (t *tokens) fetch(ctx context.Context, integration uuid.UUID, seen *seenToken, refused bool) error {
	state, err := t.refreshers.Token(ctx, seen.value.Provider(), integration.String(), seen.id, refused)
	if err == nil && state.Usable {
		_, err = t.loader.Load(ctx, integration, state.Version)
		if err == nil {
			return nil
		}
	}
	if err != nil {
		return contracts.RetryAfter(jittered(deferFor), fmt.Errorf("%w: %w", contracts.ErrNoToken, err))
	}
	wait := state.RetryAfter
	if wait <= 0 {
		wait = deferFor
	}
	return contracts.RetryAfter(jittered(wait), fmt.Errorf("%w: %s", contracts.ErrNoToken, state.Reason))
}

// jittered spreads those who wait for the same.
func jittered(d time.Duration) time.Duration { return d + rand.N(d/4+1) }
