package control

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// maxOwnerBytes is the longest owner.
const maxOwnerBytes = 200

// check applies the provider's rules and the limits of storage. Nil objects are not checked.
func (w *integrationWriter) check(owner string, metadata, credentials json.RawMessage) error {
	if len(owner) > maxOwnerBytes || strings.ContainsFunc(owner, unicode.IsControl) {
		return refuseField(
			"owner", "has %d bytes or control characters; it can have %d bytes at most, and none of those", len(owner),
			maxOwnerBytes,
		)
	}
	for what, raw := range map[string]json.RawMessage{"metadata": metadata, "credentials": credentials} {
		if len(raw) > api.MaxObjectBytes {
			return refuseField(what, "has %d bytes, it can have %d at most", len(raw), api.MaxObjectBytes)
		}
	}
	if err := checkStorable(map[string]json.RawMessage{"metadata": metadata, "credentials": credentials}); err != nil {
		return err
	}
	var problems []api.Problem
	var errs [2]error
	if credentials != nil {
		errs[0] = w.Validator.Credentials(w.provider, credentials)
	}
	if metadata != nil {
		errs[1] = w.Validator.Metadata(w.provider, metadata)
	}
	for _, err := range errs {
		found, err := problemsOf(err)
		if err != nil {
			return err
		}
		problems = append(problems, found...)
	}
	if len(problems) > 0 {
		return &api.Error{
			Code: api.Invalid, Message: fmt.Sprintf("provider %q does not take this:", w.key), Problems: problems,
		}
	}
	return nil
}

// nameOf returns the given name. An empty one becomes the provider's name if that is valid, else its key.
func (w *integrationWriter) nameOf(given string) (string, error) {
	name := given
	if name == "" {
		var err error
		name, err = panics.Compute("the provider's name", func() (string, error) { return w.provider.Name(), nil })
		if err != nil {
			return "", err
		}
		if !events.ValidToken(name) {
			name = w.key
		}
	}
	if _, err := uuid.Parse(name); err == nil {
		return "", refuseField(
			"name", "is %q, which looks like an id, so that the one could be taken for the other", name,
		)
	}
	if !events.ValidToken(name) || name == events.None {
		return "", refuseField(
			"name",
			"is %q, which is not valid: letters, digits, dash and underscore, 100 at most, for it stands in subjects",
			name,
		)
	}
	return name, nil
}

// refuseField is an error about one field of a request. The message completes a sentence that begins with the field.
func refuseField(field, format string, args ...any) error {
	problem := api.Problem{Field: field, Message: fmt.Sprintf(format, args...)}
	return &api.Error{Code: api.Invalid, Message: "the request is not valid:", Problems: []api.Problem{problem}}
}

// parseInterval reads an interval; empty means none.
func parseInterval(text string) (*time.Duration, error) {
	if text == "" {
		return nil, nil
	}
	interval, err := time.ParseDuration(text)
	if err != nil {
		return nil, refuseField("sync_interval", `is %q, which is not a duration such as "15m" or "2h"`, text)
	}
	if interval < time.Minute || interval%time.Minute != 0 {
		return nil, refuseField("sync_interval", "is %s, it must be whole minutes, at least 1m", interval)
	}
	if interval > contracts.MaxSyncInterval {
		return nil, refuseField("sync_interval", "is %s, it must be at most %s", interval, contracts.MaxSyncInterval)
	}
	return &interval, nil
}

func orEmpty(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}
