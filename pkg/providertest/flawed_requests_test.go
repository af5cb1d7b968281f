package providertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func (f flawed) Authenticate(in *contracts.Integration, req *http.Request) error {
	to, err := contracts.MetadataOf[place](in)
	if err != nil {
		return err
	}
	credentials, err := contracts.CredentialsOf[secrets](in)
	if err != nil {
		return err
	}
	if f.is("refuses foreign hosts") && !strings.HasPrefix(req.URL.String(), to.URL) {
		return errors.New("foreign host")
	}
	if f.is("keeps the first credentials") {
		credentials.Key = f.state.first(credentials.Key)
	}
	if f.is("leaks to foreign hosts") || strings.HasPrefix(req.URL.String(), to.URL) {
		req.Header.Set("X-Key", credentials.Key)
	}
	return nil
}

func (f flawed) HealthCheck(ctx context.Context, in *contracts.Integration) error {
	if f.is("always healthy") {
		return nil
	}
	if f.is("never healthy") {
		return errors.New("unhealthy")
	}
	path := "/me"
	if f.is("health without credentials") {
		path = "/open"
	}
	res, err := f.ask(ctx, in, path)
	if err != nil {
		if f.is("health hides a deferral") {
			return errors.New("unhealthy: " + err.Error())
		}
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusInternalServerError && f.is("healthy at 500") {
		return nil
	}
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// ask asks for a path, or for a whole address.
func (f flawed) ask(ctx context.Context, in *contracts.Integration, path string) (*http.Response, error) {
	to, err := contracts.MetadataOf[place](in)
	if err != nil {
		return nil, err
	}
	if f.is("keeps the first address") {
		to.URL = f.state.first(to.URL)
	}
	if !strings.HasPrefix(path, "http") {
		path = to.URL + path
	}
	if f.is("does not pass the context on") {
		ctx = contracts.WithAttempts(context.WithoutCancel(ctx), 1)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	client := in.HTTP()
	if f.is("uses a client of its own") {
		client = &http.Client{}
		if err := f.Authenticate(in, req); err != nil {
			return nil, err
		}
	}
	res, err := client.Do(req)
	if _, deferred := contracts.AsDeferral(err); deferred {
		switch f.flaw {
		case "loses a deferral":
			return nil, errors.New("list notes: " + err.Error())
		case "ends at a deferral":
			return nil, contracts.Permanent(err)
		case "asks again at once":
			return client.Do(req)
		case "waits by itself":
			if !strings.Contains(path, "?") {
				break
			}
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case "waits for a time of its own":
			return nil, contracts.RetryAfter(time.Hour, errors.New("too many requests"))
		}
	}
	return res, err
}

var next = regexp.MustCompile(`<([^>]+)>; rel="next"`)

// page asks for a page and returns its notes and the address of the next one.
func (f flawed) page(ctx context.Context, in *contracts.Integration, path string) (listed []note, following string, err error) {
	res, err := f.ask(ctx, in, path)
	if err != nil {
		return nil, "", err
	}
	if !f.is("leaves bodies open") {
		defer res.Body.Close()
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil && !f.is("passes over cut bodies") {
		return nil, "", err
	}
	if res.StatusCode != http.StatusOK {
		return nil, "", f.refused(in, res, raw)
	}
	if f.is("takes an error under 200 for nothing") && strings.HasPrefix(string(raw), `{"error"`) {
		return nil, "", nil
	}
	if f.is("indexes what may be empty") {
		var heads []map[string]any
		if err := json.Unmarshal(raw, &heads); err != nil {
			return nil, "", err
		}
		if len(heads) > 0 {
			_ = heads[0]["id"].(string)
		}
	}
	if f.is("expects a text in every note") {
		var heads []map[string]any
		if err := json.Unmarshal(raw, &heads); err == nil {
			for _, head := range heads {
				if text, ok := head["text"]; ok {
					_ = text.(string)
				}
			}
		}
	}
	if link := next.FindStringSubmatch(res.Header.Get("Link")); link != nil {
		following = link[1]
	}
	if f.is("passes over what is not JSON") && !json.Valid(raw) || f.is("passes over cut bodies") && len(raw) < 20 {
		return nil, "", nil
	}
	err = json.Unmarshal(raw, &listed)
	if f.is("takes what is not JSON for the end") {
		err = contracts.Permanent(err)
	}
	return listed, following, err
}

// refused is what an answer other than 200 is turned into.
func (f flawed) refused(in *contracts.Integration, res *http.Response, body []byte) error {
	credentials, err := contracts.CredentialsOf[secrets](in)
	if err != nil {
		return err
	}
	err = errors.New(res.Status)
	switch {
	case f.is("secret in an error"):
		return fmt.Errorf("key %s: %w", credentials.Key, err)
	case f.is("the answer in an error"):
		return fmt.Errorf("%s: %s", res.Status, body)
	case f.is("secret in a log"):
		in.Log().Warn("refused", "key", credentials.Key)
	case f.is("takes 500 for the end") && res.StatusCode >= http.StatusInternalServerError:
		return contracts.Permanent(err)
	case f.is("waits when it is refused"):
		return contracts.RetryAfter(time.Hour, err)
	case f.is("takes 404 for nothing") && res.StatusCode == http.StatusNotFound, f.is("takes 403 for nothing") && res.StatusCode == http.StatusForbidden:
		return nil
	}
	return err
}

func (f flawed) ResolveIdentity(ctx context.Context, in *contracts.Integration) (contracts.Identity, error) {
	res, err := f.ask(ctx, in, "/me")
	if err != nil {
		return contracts.Identity{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && !f.is("somebody for every answer") {
		return contracts.Identity{}, errors.New(res.Status)
	}
	if f.is("nobody") {
		return contracts.Identity{}, nil
	}
	return contracts.Identity{ID: "me"}, nil
}

// CredentialHosts names none, which counts as not having the contract.
func (f flawed) CredentialHosts(*contracts.Integration) ([]string, error) {
	if f.is("requests to a host that is not named") {
		return []string{"api.example"}, nil
	}
	return nil, nil
}
