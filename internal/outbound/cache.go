package outbound

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// cached answers requests of which the caller allows it from what the upstream has answered before.
type cached struct {
	next        http.RoundTripper
	answers     *Answers
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

const (
	// revalidatedFor is how much longer an answer is kept that the upstream can be asked about.
	revalidatedFor = 24 * time.Hour
	// cacheWithin is how long the cache may take; without it the upstream is asked.
	cacheWithin = 2 * time.Second
)

func (c *cached) RoundTrip(req *http.Request) (*http.Response, error) {
	wish, ok := contracts.CacheFrom(req.Context())
	if !ok || !isCacheable(req) {
		return c.next.RoundTrip(req)
	}
	in := c.integration()
	key := answerKey(req, in.ID(), c.settings().CredentialsVersion)
	for {
		kept := c.answers.find(req, key, c.now())
		if kept != nil && c.now().Before(kept.FreshUntil) {
			return c.serve(req, kept.response, fromCache), nil
		}
		flight, leads := c.answers.join(key, req.Header)
		if leads {
			return c.lead(req, wish, key, flight)
		}
		select {
		case <-flight.done:
		case <-req.Context().Done():
			return nil, context.Cause(req.Context())
		}
		if flight.err != nil {
			return nil, flight.err
		}
		if flight.response != nil {
			return c.serve(req, *flight.response, flight.from), nil
		}
		// It could not be shared.
	}
}

// lead asks the upstream, for all who wait for the same.
func (c *cached) lead(req *http.Request, wish contracts.Cache, key []byte, flight *flight) (*http.Response, error) {
	defer c.answers.land(flight)
	// Another may have led and landed since.
	kept := c.answers.find(req, key, c.now())
	if kept != nil && c.now().Before(kept.FreshUntil) {
		flight.response, flight.from = &kept.response, fromCache
		return c.serve(req, kept.response, fromCache), nil
	}
	res, from, err := c.ask(req, wish, key, kept)
	if err != nil {
		if req.Context().Err() == nil {
			flight.err = err
		}
		return nil, err
	}
	body, whole, err := readAhead(res, keptAnswer)
	if err != nil {
		return nil, err
	}
	res.Header = res.Header.Clone()
	if res.Header == nil {
		res.Header = http.Header{}
	}
	if whole {
		shared := keptResponse{Status: res.StatusCode, Header: res.Header.Clone(), Body: body}
		flight.response, flight.from = &shared, from
	}
	c.answers.metrics.answered(c.integration().Provider(), from)
	res.Header.Set(contracts.CacheHeader, from)
	return res, nil
}

// ask asks the upstream, and falls back on what is kept.
func (c *cached) ask(req *http.Request, wish contracts.Cache, key []byte, kept *keptAnswerRow) (*http.Response, string, error) {
	asked := req
	if kept != nil {
		asked = conditional(req, kept.response.Header)
	}
	res, err := c.next.RoundTrip(asked)
	now := c.now()
	if err == nil && res.StatusCode == http.StatusNotModified && kept != nil && asked != req {
		discard(res)
		freshen(kept.response.Header, res.Header)
		c.answers.put(req, key, kept.response, wish, now)
		return kept.response.response(req), revalidated, nil
	}
	if err == nil && (res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNonAuthoritativeInfo) {
		var body []byte
		var whole bool
		if body, whole, err = readAhead(res, keptAnswer); err == nil {
			if whole {
				c.answers.put(req, key, keptResponse{Status: res.StatusCode, Header: res.Header, Body: body}, wish, now)
			}
			return res, fromUpstream, nil
		}
	}
	if c.isStaleAllowed(req, wish, kept, res, err, now) {
		if err == nil {
			discard(res)
		}
		return kept.response.response(req), staleFromHere, nil
	}
	return res, fromUpstream, err
}

// freshen takes the headers of a 304 over, but for those that describe the body, which stays (RFC 9111, section 3.2). A Link among them may name a page that was not
// there before.
func freshen(kept, with http.Header) {
	for name, values := range with {
		if !strings.HasPrefix(name, "Content-") && name != "Transfer-Encoding" && name != "Connection" && name != "Trailer" {
			kept[name] = values
		}
	}
}

// isStaleAllowed reports whether what is kept will do, though it is no longer fresh, in the place of an answer or an error.
func (c *cached) isStaleAllowed(req *http.Request, wish contracts.Cache, kept *keptAnswerRow, res *http.Response, err error, now time.Time) bool {
	if kept == nil || !now.Before(kept.FreshUntil.Add(wish.StaleOnError)) || errors.Is(req.Context().Err(), context.Canceled) {
		return false
	}
	if err != nil {
		return true
	}
	class := callOf(req).judge(c.provider, res, nil).class
	return class == contracts.FailureUpstream || class == contracts.FailureThrottle
}

func (c *cached) serve(req *http.Request, kept keptResponse, from string) *http.Response {
	c.answers.metrics.answered(c.integration().Provider(), from)
	res := kept.response(req)
	res.Header.Set(contracts.CacheHeader, from)
	return res
}

// isCacheable reports whether the answer to a request is one to keep. A condition of the caller's is answered by the upstream.
func isCacheable(req *http.Request) bool {
	if method := methodOf(req); method != http.MethodGet && method != http.MethodHead || req.Body != nil && req.Body != http.NoBody {
		return false
	}
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range"} {
		if req.Header.Get(name) != "" {
			return false
		}
	}
	return true
}

// conditional is the request for what has changed since an answer: the same, if that can't be asked.
func conditional(req *http.Request, header http.Header) *http.Request {
	etag, modified := header.Get("Etag"), header.Get("Last-Modified")
	if etag == "" && modified == "" {
		return req
	}
	asked := req.Clone(req.Context())
	if etag != "" {
		asked.Header.Set("If-None-Match", etag)
	}
	if modified != "" {
		asked.Header.Set("If-Modified-Since", modified)
	}
	return asked
}

// answerKey is of all that an answer depends on for sure. It is a digest, as URLs may hold secrets.
func answerKey(req *http.Request, integration string, credentials int64) []byte {
	digest := sha256.New()
	_, _ = fmt.Fprintf(digest, "%s\x00%d\x00%s\x00%s\x00%s", integration, credentials, methodOf(req), req.URL, req.Header.Get("Authorization"))
	return digest.Sum(nil)
}

// variantOf is of the request headers that an answer names; false if it depends on more.
func variantOf(req *http.Request, vary []string) (names []string, variant []byte, ok bool) {
	named := map[string]bool{}
	for _, value := range vary {
		for name := range strings.SplitSeq(value, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" {
				named[name] = true
			}
		}
	}
	if named["*"] {
		return nil, nil, false
	}
	names = slices.Sorted(maps.Keys(named))
	digest := sha256.New()
	for _, name := range names {
		_, _ = fmt.Fprintf(digest, "%s\x00%q\x00", name, req.Header.Values(name))
	}
	return names, digest.Sum(nil), true
}

func writeHeader(w io.Writer, header http.Header) {
	raw, _ := json.Marshal(header) // sorted; texts always encode
	_, _ = w.Write(raw)
}
