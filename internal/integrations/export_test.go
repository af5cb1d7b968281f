package integrations

import (
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// KeepAtMost has the loader keep so many integrations.
func (l *Loader) KeepAtMost(n int) { l.most = n }

// TokensOf are the tokens of an integration that is in memory and stays as it is.
func TokensOf(in *contracts.Integration, provider contracts.Provider, refreshers Refreshers) outbound.Tokens {
	l := &Loader{tokens: newTokenSource(refreshers), clock: time.Now, changes: newChanges(), loaded: map[uuid.UUID]*loaded{}}
	kept := &loaded{}
	kept.state.Store(&state{version: 1, value: in})
	return l.tokensOf(kept, provider)
}
