package providertest_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// flawed is a provider of notes that keeps its contracts, but for one flaw: a mistake that an author could make.
type flawed struct {
	contracts.MaxTime
	flaw  string
	state *state
}

type secrets struct {
	Key    string `json:"key" validate:"required"`
	Secret string `json:"webhook_secret" validate:"required"`
	// Previous counts while the secret is changed.
	Previous string `json:"webhook_secret_previous,omitempty"`
}

// hidden is a text that is never shown, nor stored.
type hidden string

func (hidden) MarshalJSON() ([]byte, error) { return []byte(`"***"`), nil }

type place struct {
	URL   string `json:"url" validate:"required"`
	Token string `json:"token,omitempty"`
}

func (f flawed) is(flaw string) bool { return f.flaw == flaw }

func (f flawed) Name() string {
	if f.is("no name") {
		return " "
	}
	return "Notes"
}

func (f flawed) CredentialRules() contracts.Rules {
	if f.is("no rules") {
		return nil
	}
	if f.is("a rule for a field that is not there") {
		return contracts.Rules{"api_key": "required"}
	}
	if f.is("a rule that there is none of") {
		return contracts.Rules{"key": "required,minimum=8", "secret": "required"}
	}
	return contracts.TypedCredentials[secrets]{}.CredentialRules()
}

func (flawed) MetadataRules() contracts.Rules {
	return contracts.TypedMetadata[place]{}.MetadataRules()
}

func (f flawed) CredentialData() any {
	switch f.flaw {
	case "credentials lose a field":
		return new(struct {
			Key    string `json:"key"`
			Secret hidden `json:"webhook_secret"`
		})
	case "credentials by value":
		return secrets{}
	}
	return new(secrets)
}

func (flawed) MetadataData() any { return new(place) }

func (f flawed) DefaultSyncInterval() time.Duration {
	if f.is("an interval of seconds") {
		return 90 * time.Second
	}
	return time.Minute
}

func (f flawed) DefaultRateLimit() *contracts.RateLimit {
	if f.is("a budget of nothing") {
		return &contracts.RateLimit{}
	}
	return nil
}

func (f flawed) ReduceCheckpoints(checkpoints []contracts.Checkpoint) (contracts.Cursor, error) {
	switch f.flaw {
	case "the reducer takes the last":
		if len(checkpoints) == 0 {
			return nil, nil
		}
		return contracts.Cursor(checkpoints[len(checkpoints)-1]), nil
	case "the reducer takes the first":
		for _, c := range checkpoints {
			if len(c) > 0 {
				return contracts.Cursor(c), nil
			}
		}
		return nil, nil
	case "the reducer fails for nothing":
		if len(checkpoints) == 0 {
			return nil, errors.New("no checkpoints")
		}
	case "the reducer panics for nothing":
		_ = checkpoints[0]
	case "the reducer makes a cursor of nothing":
		if c, err := f.MaxTime.ReduceCheckpoints(checkpoints); len(c) > 0 || err != nil {
			return c, err
		}
		return contracts.Cursor(`"2024-01-01T00:00:00Z"`), nil
	case "the reducer sorts its argument":
		slices.SortFunc(checkpoints, func(a, b contracts.Checkpoint) int { return strings.Compare(string(a), string(b)) })
	case "the reducer compares texts":
		return contracts.MaxString{}.ReduceCheckpoints(checkpoints)
	case "the reducer takes the time of day":
		if len(checkpoints) == 0 || len(checkpoints[0]) == 0 {
			return nil, nil
		}
		return f.CursorAt(time.Now())
	}
	return f.MaxTime.ReduceCheckpoints(checkpoints)
}

func (flawed) ReducesAssociatively() {}

func (f flawed) CheckCheckpoint(c contracts.Checkpoint, now time.Time) error {
	return f.MaxTime.CheckCheckpoint(c, now)
}

func (f flawed) CheckpointKey(c contracts.Checkpoint) (string, error) {
	key, err := f.MaxTime.CheckpointKey(c)
	switch f.flaw {
	case "keys run backwards":
		inverted := []byte(key)
		for i := range inverted {
			inverted[i] = '0' + '9' - inverted[i]
		}
		return string(inverted), err
	case "keys fail":
		return "", errors.New("no key")
	}
	return key, err
}

func (f flawed) CursorAdvances(current, candidate contracts.Cursor) bool {
	if f.is("the cursor may go back") {
		return string(current) != string(candidate)
	}
	if f.is("the cursor may not move") {
		return false
	}
	before, _ := f.MaxTime.CheckpointKey(contracts.Checkpoint(current))
	after, _ := f.MaxTime.CheckpointKey(contracts.Checkpoint(candidate))
	return after > before
}

func (f flawed) CursorAt(at time.Time) (contracts.Cursor, error) {
	if f.is("CursorAt is now") {
		at = time.Now()
	}
	if f.is("CursorAt is no time") {
		return contracts.Cursor(strconv.FormatInt(at.Unix(), 10)), nil
	}
	return f.MaxTime.CursorAt(at)
}

func (f flawed) AuthorizationURL(ctx context.Context, _ *contracts.Integration, redirect, state string) (string, error) {
	query := url.Values{"response_type": {"code"}, "client_id": {"us"}, "redirect_uri": {redirect}, "state": {state}}
	verifier, _ := contracts.PKCEVerifierFrom(ctx)
	sum := sha256.Sum256([]byte(verifier))
	query.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
	query.Set("code_challenge_method", "S256")
	switch f.flaw {
	case "no challenge":
		query.Del("code_challenge")
	case "a challenge without a method":
		query.Del("code_challenge_method")
	case "no client":
		query.Del("client_id")
	case "no type of answer":
		query.Del("response_type")
	case "no state":
		query.Del("state")
	case "another redirect":
		query.Set("redirect_uri", "https://fixed.example/callback")
	case "state is not escaped":
		query.Del("state")
		return "https://accounts.example/authorize?" + query.Encode() + "&state=" + state, nil
	case "the verifier as the challenge":
		query.Set("code_challenge", verifier)
	case "the client's secret in the address":
		query.Set("client_secret", "shh")
	}
	return "https://accounts.example/authorize?" + query.Encode(), nil
}

func (flawed) RefreshThreshold() time.Duration { return 0 }

// without drops notes that a flaw loses.
func (f flawed) without(listed []note, page int) []note {
	switch {
	case f.is("drops the last of a page") && len(listed) > 1:
		return listed[:len(listed)-1]
	case f.is("begins at the second page") && page == 1:
		return nil
	case f.is("keeps the first page only for the first sync") && page > 1 && f.state.begun() > 1:
		return nil
	}
	return slices.Clone(listed)
}
