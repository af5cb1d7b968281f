package acme

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// usualWait is how long to wait when the upstream asks for patience and doesn't say for how long.
const usualWait = time.Minute

// Authenticate signs requests to the shop, and leaves those to anybody else alone.
func (Provider) Authenticate(in *contracts.Integration, req *http.Request) error {
	metadata, err := contracts.MetadataOf[Metadata](in)
	if err != nil {
		return err
	}
	base, err := url.Parse(metadata.URL)
	if err != nil {
		return fmt.Errorf("the shop's url: %w", err)
	}
	if req.URL.Scheme != base.Scheme || req.URL.Host != base.Host {
		return nil
	}
	credentials, err := contracts.CredentialsOf[Credentials](in)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+credentials.Key)
	return nil
}

// changedAfter is the next page of orders, by revision.
func changedAfter(ctx context.Context, in *contracts.Integration, revision int64) ([]Order, error) {
	metadata, err := contracts.MetadataOf[Metadata](in)
	if err != nil {
		return nil, contracts.Permanent(err)
	}
	address := metadata.URL + "/orders?after=" + strconv.FormatInt(revision, 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, contracts.Permanent(err)
	}
	res, err := in.HTTP().Do(req)
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusTooManyRequests:
		return nil, contracts.RetryAfter(waitOf(res.Header), fmt.Errorf("list orders: %s", res.Status))
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, contracts.Permanent(fmt.Errorf("list orders: the shop does not accept the key: %s", res.Status))
	default:
		return nil, fmt.Errorf("list orders: %s", res.Status)
	}
	var orders []Order
	if err := json.NewDecoder(res.Body).Decode(&orders); err != nil {
		return nil, fmt.Errorf("list orders: the answer is not what was asked for: %w", err)
	}
	return orders, nil
}

func waitOf(header http.Header) time.Duration {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil {
		return usualWait
	}
	return time.Duration(seconds) * time.Second
}
