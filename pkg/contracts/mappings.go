package contracts

import (
	"context"
	"errors"
	"fmt"
)

// MaxMappedChars is how many characters an id or a kind of [Mappings] may have.
const MaxMappedChars = 500

// ErrInvalidMapping is wrapped by the errors of [Mappings] about ids and kinds that can't be stored: empty ones, ones
// longer than [MaxMappedChars], and those that are not UTF-8 or hold a zero byte.
var ErrInvalidMapping = errors.New("invalid mapping")

// Mappings remembers which record of your application an upstream's record is, within one integration.
// [Integration.Mappings] has it. A kind is a name of your choice, such as "contact"; one external id can be mapped once
// in each kind, and many external ids may lead to one internal id.
//
// Every method is one statement, so that workers which do the same at the same time agree. A handler that may be run
// twice finds the second time what it did the first.
type Mappings interface {
	// Ensure returns the internal id of an external one, which becomes the proposed id if it had none; isNew tells
	// which. It is how records are upserted: propose a fresh id, and insert or update your row under the id that comes
	// back. A row that was deleted meanwhile is inserted again under the same id, so that no mapping is left without a
	// row.
	Ensure(ctx context.Context, kind, external, proposed string) (internal string, isNew bool, err error)
	// Claim says that an external id is an internal one, as it may have been before. The error is a
	// [*MappingClaimedError] when it is another.
	Claim(ctx context.Context, kind, external, internal string) error
	// Remap moves an external id from one internal id to another, on purpose. The error is a [*MappingClaimedError]
	// when it leads to neither; leading nowhere is fine.
	Remap(ctx context.Context, kind, external, from, to string) error
	// Release forgets that an external id is an internal one. It does nothing when it is another, or none.
	Release(ctx context.Context, kind, external, internal string) error
	// Resolve returns the internal ids of external ones. Those that have none are left out.
	Resolve(ctx context.Context, kind string, externals ...string) (map[string]string, error)
	// Find returns the external ids of internal ones, sorted. Those that have none are left out: records that the
	// upstream does not know.
	Find(ctx context.Context, kind string, internals ...string) (map[string][]string, error)
}

// MappingClaimedError says that an external id leads to another record than it was to.
type MappingClaimedError struct {
	Kind, External string
	// ClaimedBy is the internal id that it leads to, RequestedBy the one that it was to lead to.
	ClaimedBy, RequestedBy string
}

func (e *MappingClaimedError) Error() string {
	return fmt.Sprintf("%s %q is mapped to %q already, not to %q", e.Kind, e.External, e.ClaimedBy, e.RequestedBy)
}

// noMappings stands for the mappings of an integration that was made without.
type noMappings struct{}

var errNoMappings = errors.New("this integration was made without mappings; set IntegrationFields.Mappings")

func (noMappings) Ensure(context.Context, string, string, string) (string, bool, error) {
	return "", false, errNoMappings
}

func (noMappings) Claim(context.Context, string, string, string) error { return errNoMappings }

func (noMappings) Remap(context.Context, string, string, string, string) error { return errNoMappings }

func (noMappings) Release(context.Context, string, string, string) error { return errNoMappings }

func (noMappings) Resolve(context.Context, string, ...string) (map[string]string, error) {
	return nil, errNoMappings
}

func (noMappings) Find(context.Context, string, ...string) (map[string][]string, error) {
	return nil, errNoMappings
}
