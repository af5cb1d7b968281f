package outbound

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tributaryhq/tributary/internal/answers"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// cached answers requests of which the caller allows it from what the upstream has answered before.
type cached struct {
	next        http.RoundTripper
	answers     *answers.Cache
	provider    contracts.Provider
	integration func() *contracts.Integration
	settings    func() Settings
	now         func() time.Time
}

// Where an answer comes from, as [contracts.CacheHeader] says.
const (
	fromCache     = "hit"
	revalidated   = "revalidated"
	fromUpstream  = "miss"
	staleFromHere = "stale"
)

func (c *cached) RoundTrip(req *http.Request) (*http.Response, error) {
	wish, ok := contracts.CacheFrom(req.Context())
	if !ok || !answers.IsCacheable(req) {
		return c.next.RoundTrip(req)
	}
	in := c.integration()
	key := answers.KeyOf(req, in.ID(), c.settings().CredentialsVersion)
	for {
		kept := c.answers.Find(req, key, c.now())
		if kept != nil && c.now().Before(kept.FreshUntil) {
			return c.serve(req, kept.Response, fromCache), nil
		}
		flight, leads := c.answers.Join(key, req.Header)
		if leads {
			return c.lead(req, wish, key, flight)
		}
		select {
		case <-flight.Done():
		case <-req.Context().Done():
			return nil, context.Cause(req.Context())
		}
		if flight.Err != nil {
			return nil, flight.Err
		}
		if flight.Response != nil {
			return c.serve(req, *flight.Response, flight.From), nil
		}
		// It could not be shared.
	}
}

// lead asks the upstream, for all who wait for the same.
func (c *cached) lead(
	req *http.Request, wish contracts.Cache, key []byte, flight *answers.Flight,
) (*http.Response, error) {
	defer c.answers.Land(flight)
	// Another may have led and landed since.
	kept := c.answers.Find(req, key, c.now())
	if kept != nil && c.now().Before(kept.FreshUntil) {
		flight.Response, flight.From = &kept.Response, fromCache
		return c.serve(req, kept.Response, fromCache), nil
	}
	res, from, err := c.ask(req, wish, key, kept)
	if err != nil {
		if req.Context().Err() == nil {
			flight.Err = err
		}
		return nil, err
	}
	body, whole, err := answers.ReadAhead(res)
	if err != nil {
		return nil, err
	}
	res.Header = res.Header.Clone()
	if res.Header == nil {
		res.Header = http.Header{}
	}
	if whole {
		shared := answers.Response{Status: res.StatusCode, Header: res.Header.Clone(), Body: body}
		flight.Response, flight.From = &shared, from
	}
	c.answers.Answered(c.integration().Provider(), from)
	res.Header.Set(contracts.CacheHeader, from)
	return res, nil
}

// ask asks the upstream, and falls back on what is kept.
func (c *cached) ask(
	req *http.Request, wish contracts.Cache, key []byte, kept *answers.Kept,
) (*http.Response, string, error) {
	asked := req
	if kept != nil {
		asked = answers.Conditional(req, kept.Response.Header)
	}
	res, err := c.next.RoundTrip(asked)
	now := c.now()
	if err == nil && res.StatusCode == http.StatusNotModified && kept != nil && asked != req {
		discard(res)
		answers.Freshen(kept.Response.Header, res.Header)
		c.answers.Put(req, key, kept.Response, wish, now)
		return kept.Response.Answer(req), revalidated, nil
	}
	if err == nil && (res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNonAuthoritativeInfo) {
		var body []byte
		var whole bool
		if body, whole, err = answers.ReadAhead(res); err == nil {
			if whole {
				c.answers.Put(req, key, answers.Response{Status: res.StatusCode, Header: res.Header, Body: body},
					wish, now)
			}
			return res, fromUpstream, nil
		}
	}
	if c.isStaleAllowed(req, wish, kept, res, err, now) {
		if err == nil {
			discard(res)
		}
		return kept.Response.Answer(req), staleFromHere, nil
	}
	return res, fromUpstream, err
}

// isStaleAllowed reports whether what is kept will do, though it is no longer fresh, in the place of an answer or an
// error.
func (c *cached) isStaleAllowed(req *http.Request, wish contracts.Cache, kept *answers.Kept, res *http.Response,
	err error, now time.Time,
) bool {
	if kept == nil || !now.Before(kept.FreshUntil.Add(wish.StaleOnError)) ||
		errors.Is(req.Context().Err(), context.Canceled) {
		return false
	}
	if err != nil {
		return true
	}
	class := callOf(req).judge(c.provider, res, nil).class
	return class == contracts.FailureUpstream || class == contracts.FailureThrottle
}

func (c *cached) serve(req *http.Request, kept answers.Response, from string) *http.Response {
	c.answers.Answered(c.integration().Provider(), from)
	res := kept.Answer(req)
	res.Header.Set(contracts.CacheHeader, from)
	return res
}
