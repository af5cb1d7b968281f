package providertest

import (
	"context"
	"slices"
	"sync"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// NewMappings returns mappings in memory, for tests of handlers. [Integration] has its own.
func NewMappings() contracts.Mappings { return &mappings{internal: map[mapped]string{}} }

type mappings struct {
	mu       sync.Mutex
	internal map[mapped]string
}

// mapped is an external id of a kind.
type mapped struct{ kind, external string }

func (m *mappings) Ensure(_ context.Context, kind, external, proposed string) (internal string, isNew bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if kind == "" || external == "" || proposed == "" {
		return "", false, contracts.ErrInvalidMapping
	}
	if have, ok := m.internal[mapped{kind, external}]; ok {
		return have, false, nil
	}
	m.internal[mapped{kind, external}] = proposed
	return proposed, true, nil
}

func (m *mappings) Claim(ctx context.Context, kind, external, internal string) error {
	claimed, _, err := m.Ensure(ctx, kind, external, internal)
	if err == nil && claimed != internal {
		err = &contracts.MappingClaimedError{Kind: kind, External: external, ClaimedBy: claimed, RequestedBy: internal}
	}
	return err
}

func (m *mappings) Remap(ctx context.Context, kind, external, from, to string) error {
	if from == "" {
		return contracts.ErrInvalidMapping
	}
	claimed, _, err := m.Ensure(ctx, kind, external, to)
	if err != nil {
		return err
	}
	if claimed != from && claimed != to {
		return &contracts.MappingClaimedError{Kind: kind, External: external, ClaimedBy: claimed, RequestedBy: to}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.internal[mapped{kind, external}] = to
	return nil
}

func (m *mappings) Release(_ context.Context, kind, external, internal string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.internal[mapped{kind, external}] == internal {
		delete(m.internal, mapped{kind, external})
	}
	return nil
}

func (m *mappings) Resolve(_ context.Context, kind string, externals ...string) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string]string{}
	for _, external := range externals {
		if internal, ok := m.internal[mapped{kind, external}]; ok {
			found[external] = internal
		}
	}
	return found, nil
}

func (m *mappings) Find(_ context.Context, kind string, internals ...string) (map[string][]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string][]string{}
	for of, internal := range m.internal {
		if of.kind == kind && slices.Contains(internals, internal) {
			found[internal] = append(found[internal], of.external)
		}
	}
	for _, externals := range found {
		slices.Sort(externals)
	}
	return found, nil
}
