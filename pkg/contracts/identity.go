package contracts

import (
	"context"
	"encoding/json"
)

// Identity is who the credentials of an integration belong to at the upstream: a user, an account, a server.
type Identity struct {
	// ID is the upstream's id; the other fields may be empty.
	ID       string `json:"id"`
	Username string `json:"username,omitempty"`
	Name     string `json:"name,omitempty"`
	Email    string `json:"email,omitempty"`
	// Raw is the upstream's own record, a JSON object, or nil.
	Raw json.RawMessage `json:"raw,omitempty"`
}

// IdentityResolver is implemented by providers whose upstream can tell who is calling.
type IdentityResolver interface {
	// ResolveIdentity asks the upstream whose credentials the integration has. The runtime may keep the answer until
	// the credentials change.
	ResolveIdentity(ctx context.Context, in *Integration) (Identity, error)
}
