package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// newCredentials is the change that an update makes to an integration's credentials.
type newCredentials struct {
	// read says that the stored credentials were read, at the version.
	read    bool
	version int64
	// merged is nil if the credentials do not change.
	merged json.RawMessage
	// moved says that the update changes the hosts to which the credentials are sent.
	moved bool
}

// readAhead computes the new credentials before the transaction. The transaction compares their version, so that no
// other change is lost.
func (w *integrationWriter) readAhead(
	ctx context.Context, found *postgres.Integration, q api.UpdateIntegration,
) (next newCredentials, err error) {
	if next.moved, err = w.movesHosts(found, q.Metadata); err != nil || len(q.Credentials) == 0 && !next.moved {
		return next, err
	}
	next.read = true
	stored, version, err := w.Store.Credentials(ctx, found.ID, w.access(q.By, "change some of them"))
	next.version = version
	var lost error
	if len(q.Credentials) > 0 && (errors.Is(err, secret.ErrUnknownKey) || errors.Is(err, secret.ErrOpen)) {
		// Credentials that can't be opened can be replaced as a whole: no field is carried over.
		lost, stored, err = err, nil, nil
	}
	if err != nil {
		return next, err
	}
	if next.moved {
		if stored, err = w.notCarriedOver(found, stored, q); err != nil {
			return next, err
		}
	}
	if len(q.Credentials) == 0 {
		return next, nil
	}
	if next.merged, err = merge("credentials", stored, q.Credentials); err != nil {
		return next, err
	}
	err = w.check("", nil, next.merged)
	switch {
	case err != nil && lost != nil:
		return next, &api.Error{
			Code: api.Refused,
			Message: fmt.Sprintf(
				"the stored credentials can't be read (%v); give all of them to replace them: %v", lost, err,
			),
		}
	case lost != nil:
		w.Log.Warn(
			"credentials that can't be opened are replaced", "integration", found.Name, "provider", w.key, "by", q.By,
			"error", lost,
		)
	}
	return next, err
}

// putCredentials writes the new credentials. It compares the hosts again, under the integration's lock.
func (w *integrationWriter) putCredentials(
	ctx context.Context, tx *postgres.Tx, before *postgres.Integration, q api.UpdateIntegration, next newCredentials,
) error {
	moved, err := w.movesHosts(before, q.Metadata)
	switch {
	case err != nil:
		return err
	case moved && !next.moved:
		return postgres.ErrCredentialsChanged
	case next.merged != nil:
		_, err := w.Store.PutCredentials(
			ctx, tx, before.ID, next.merged, next.version, w.access(q.By, "change some of them"),
		)
		return err
	case !next.read:
		return nil
	}
	version, err := tx.CredentialsVersion(ctx, before.ID)
	if postgres.NotFound(err) {
		version, err = 0, nil
	}
	if err == nil && version != next.version {
		return postgres.ErrCredentialsChanged
	}
	return err
}

// movesHosts reports whether a change of metadata changes the hosts to which the credentials are sent.
func (w *integrationWriter) movesHosts(before *postgres.Integration, patch json.RawMessage) (bool, error) {
	if len(patch) == 0 {
		return false, nil
	}
	changed, err := merge("metadata", before.Metadata, patch)
	if err != nil {
		return false, err
	}
	if err := w.check("", changed, nil); err != nil {
		return false, err
	}
	after, err := w.hosts(before, changed)
	if err != nil {
		return false, api.Invalidf("%v", err)
	}
	// The stored metadata names no hosts, so the credentials were given for none.
	if known, err := w.hosts(before, before.Metadata); err == nil {
		return after.MovedFrom(known), nil
	}
	return true, nil
}

func (w *integrationWriter) hosts(row *postgres.Integration, metadata json.RawMessage) (outbound.Hosts, error) {
	return outbound.CredentialHosts(w.provider, contracts.NewIntegration(contracts.IntegrationFields{
		ID: row.ID.String(), Provider: row.Provider, Name: row.Name, Owner: row.Owner, Metadata: metadata,
	}))
}

// notCarriedOver refuses a change that would send stored credentials to another host. Tokens of an OAuth authorization
// are dropped, because the old host issued them.
func (w *integrationWriter) notCarriedOver(
	found *postgres.Integration, stored json.RawMessage, q api.UpdateIntegration,
) (json.RawMessage, error) {
	have, err := decodeObject(orEmpty(stored))
	if err != nil {
		return nil, api.Invalidf("the stored credentials are not a JSON object")
	}
	given, err := decodeObject(orEmpty(q.Credentials))
	if err != nil {
		return nil, api.Invalidf("the credentials are not a JSON object")
	}
	if len(have) == 0 {
		return stored, nil
	}
	var tokens bool
	if _, ok := w.provider.(contracts.OAuth2); ok {
		for _, name := range []string{"access_token", "refresh_token", "token_expires_at"} {
			_, has := have[name]
			tokens = tokens || has
			delete(have, name)
		}
	}
	kept, err := json.Marshal(have)
	if err != nil {
		return nil, fmt.Errorf("encode credentials of %s", found.ID)
	}
	missing := slices.DeleteFunc(
		slices.Sorted(maps.Keys(have)), func(name string) bool { _, ok := given[name]; return ok },
	)
	after, _ := merge("metadata", found.Metadata, q.Metadata) // was merged before
	hosts, _ := w.hosts(found, after)
	switch {
	case len(missing) > 0:
		return nil, &api.Error{Code: api.Invalid, Message: fmt.Sprintf(
			"this change has the credentials sent to another host (%s), which they were not given for; give these "+
				"again in the same command, with --credential or --credentials-file, or set them to null: %s",
			hosts, strings.Join(missing, ", "))}
	case tokens && len(q.Credentials) == 0:
		return nil, &api.Error{Code: api.Invalid, Message: fmt.Sprintf(
			"this change has the tokens sent to another host (%s), which did not grant them; "+
				"revoke them first: tributary integrations revoke %s",
			hosts, found.Name)}
	}
	return kept, nil
}
