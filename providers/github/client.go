package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// client asks the API on behalf of one integration.
type client struct {
	http        *http.Client
	integration string
	base        *url.URL
	metadata    Metadata
	// token is known only to be kept out of errors.
	token string
	// limit and remaining are the token's budget as the last answer told it; zero when none did.
	limit, remaining int
	// requests counts those that were answered.
	requests int
	// redirected says that an answer came from another address than was asked, as with a repository that was renamed.
	redirected bool
	answers    *answers
}

func (p Provider) client(in *contracts.Integration) (*client, error) {
	base, err := baseOf(in)
	if err != nil {
		return nil, err
	}
	metadata, err := contracts.MetadataOf[Metadata](in)
	if err != nil {
		return nil, contracts.Permanent(err)
	}
	credentials, err := contracts.CredentialsOf[Credentials](in)
	if err != nil {
		return nil, contracts.Permanent(err)
	}
	own := *in.HTTP()
	c := &client{http: &own, integration: in.ID(), base: base, metadata: metadata, token: credentials.Token, answers: p.answers}
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		const most = 10
		if !isSameOrigin(base, req.URL) {
			return foreign("a redirect", req.URL)
		}
		if len(via) >= most {
			return errors.New("too many redirects")
		}
		c.redirected = true
		return nil
	}
	return c, nil
}

// foreign refuses to leave the API's own host. Going on would read somebody else's records as the repository's.
func foreign(what string, to *url.URL) error {
	return contracts.Permanent(fmt.Errorf("%s leads to a foreign host, %s: not followed", what, to.Host))
}

// repository is the address of the repository, or of something within it.
func (c *client) repository(elements ...string) *url.URL {
	all := slices.Concat([]string{c.base.EscapedPath(), "repos", url.PathEscape(c.metadata.Owner), url.PathEscape(c.metadata.Repo)}, elements)
	path := strings.Join(all, "/")
	to := *c.base
	// Neither owner nor repository can hold what would not unescape.
	to.Path, _ = url.PathUnescape(path)
	to.RawPath = path
	return &to
}

// response is what came with an answer.
type response struct {
	next *url.URL
	// at is the upstream's clock.
	at time.Time
}

// get asks for an address and decodes the answer into a value.
func (c *client) get(ctx context.Context, from *url.URL, into any) (response, error) {
	answered, at, err := c.fetch(ctx, from)
	if err != nil {
		return response{}, err
	}
	what := "GET " + from.EscapedPath()
	if err := json.Unmarshal(answered.body, into); err != nil {
		return response{}, fmt.Errorf("%s: the answer is not what was asked for: %w", what, err)
	}
	next, err := c.nextLink(from, answered.link)
	if err != nil {
		return response{}, fmt.Errorf("%s: %w", what, err)
	}
	return response{next: next, at: at}, nil
}

// fetch returns the answer to an address, from memory when the upstream says that it is unchanged, and the time at the upstream.
func (c *client) fetch(ctx context.Context, from *url.URL) (answer, time.Time, error) {
	what := "GET " + from.EscapedPath()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return answer{}, time.Time{}, fmt.Errorf("%s: %w", what, err)
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	req.Header.Set("User-Agent", "tributary")
	key := c.keyOf(from)
	known, isKnown := c.answers.get(key)
	if isKnown {
		req.Header.Set("If-None-Match", known.tag)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, time.Time{}, unanswered(ctx, what, err)
	}
	defer res.Body.Close()
	const most = 64 << 20
	body, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return answer{}, time.Time{}, unanswered(ctx, what, fmt.Errorf("read the answer: %w", err))
	}
	at, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		at = time.Now()
	}
	at = at.UTC()
	c.note(res.Header)
	switch {
	case res.StatusCode == http.StatusNotModified && isKnown:
		if link := linkOf(res.Header); link != "" && link != known.link {
			// The page is as it was, and what is behind it is not.
			known.link = link
			c.answers.put(key, known)
		}
		return known, at, nil
	case res.StatusCode != http.StatusOK:
		return answer{}, time.Time{}, c.failure(what, res, body, at)
	}
	answered := answer{tag: res.Header.Get("ETag"), link: linkOf(res.Header), body: body}
	c.answers.put(key, answered)
	return answered, at, nil
}

func linkOf(h http.Header) string { return strings.Join(h.Values("Link"), ", ") }

// forget has an address asked without a condition the next time.
func (c *client) forget(from *url.URL) { c.answers.drop(c.keyOf(from)) }

func (c *client) keyOf(from *url.URL) string { return c.integration + " " + from.String() }

// note keeps what an answer tells of the budget.
func (c *client) note(h http.Header) {
	c.requests++
	limit, errLimit := strconv.Atoi(h.Get("X-RateLimit-Limit"))
	remaining, errRemaining := strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	if errLimit == nil && errRemaining == nil {
		c.limit, c.remaining = limit, remaining
	}
}

// canSpare reports whether the budget has room for some requests and a tenth of it besides, for others who use the token.
func (c *client) canSpare(requests int) bool {
	return c.limit == 0 || c.remaining >= requests+c.limit/10
}

// unanswered wraps the error of a request that got no answer. The error of http.Client quotes the whole URL, which is long and says nothing more.
func unanswered(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// nextLink is the address of the next page, resolved against the one that was asked; nil when there is none.
func (c *client) nextLink(asked *url.URL, header string) (*url.URL, error) {
	for _, l := range parseLinks(header) {
		if !l.has("next") {
			continue
		}
		next, err := asked.Parse(l.target)
		if err != nil {
			return nil, errors.New("the link to the next page is not a URL")
		}
		if !isSameOrigin(c.base, next) {
			return nil, foreign("the link to the next page", next)
		}
		return next, nil
	}
	return nil, nil
}
