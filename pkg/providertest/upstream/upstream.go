// Package upstream is a server that speaks the part of GitHub's REST API that a sync needs, over a real socket: repository, issues, comments,
// paging by Link, since, ETags and rate-limit headers. Its records are made by rule from a seed, so that a million of them cost no memory, and
// can be edited while they are read. It can be made hostile: see [Fault].
//
// It is the upstream of the tests and of the demo. It does not import package testing, so that a binary may hold it.
package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// DemoToken is the token that an upstream accepts when [Options] name no other.
const DemoToken = "demo-token-of-tributary"

// Options say what an upstream holds and how it behaves. The zero value is an empty repository demo/issues on a free port of 127.0.0.1.
type Options struct {
	// Addr is where to listen, "127.0.0.1:0" by default.
	Addr string
	// PublicURL is the address that records and Link headers name; by default the one that the client asked for.
	PublicURL string
	// Owner and Repo name the one repository, "demo" and "issues" by default.
	Owner, Repo string
	// Token is what clients must send, [DemoToken] by default.
	Token string

	// Issues is how many issues there are at first, numbered from 1, pull requests among them.
	Issues int
	// Seed picks titles, bodies, people and order. The same options give the same records.
	Seed uint64
	// CommentEvery gives every n-th issue, in the order of updates, a comment; 3 by default, negative for none.
	CommentEvery int
	// PullRequestEvery makes every n-th number a pull request; 10 by default, negative for none.
	PullRequestEvery int
	// NullPullRequestEvery gives every n-th ordinary issue a "pull_request": null, as some servers do; 7 by default, negative for none.
	NullPullRequestEvery int
	// Tie is how many issues share each timestamp; 1 by default.
	Tie int
	// Step is the time between two timestamps; 10 minutes by default. The newest of the first records is of noon on 30 June 2024, UTC.
	Step time.Duration

	// MaxPerPage is the size that larger pages are cut to; 100 by default.
	MaxPerPage int
	// RateLimit is how many requests an hour are answered; 0 answers all, and the headers speak of 5000.
	RateLimit int
	// IgnoreSort lists by number, newest first, whatever is asked for.
	IgnoreSort bool

	// Now is the server's clock, time.Now by default.
	Now func() time.Time
	// Log takes what the server itself complains of; by default nothing.
	Log *slog.Logger
}

// newest is the timestamp of the newest record that an upstream starts with. The one before it is gap older, so that what
// follows an incremental sync is not hidden among its overlap.
func newest() time.Time { return time.Date(2024, time.June, 30, 12, 0, 0, 0, time.UTC) }

// gap is the time between the last two timestamps of the first records.
const gap = 2 * time.Hour

// Upstream is the server. It is safe for concurrent use. Its faults strike reading requests alone.
type Upstream struct {
	*Faults

	opts   Options
	rule   rule
	words  vocabulary
	server *http.Server
	done   chan struct{}

	mu     sync.RWMutex
	url    string
	store  store
	limits limits
	stats  Stats
	hooks  *hooks
}

// New makes an upstream that does not listen yet: see [Upstream.Start] and [Upstream.Handler].
func New(opts Options) *Upstream {
	opts.Addr = cmp.Or(opts.Addr, "127.0.0.1:0")
	opts.Owner = cmp.Or(opts.Owner, "demo")
	opts.Repo = cmp.Or(opts.Repo, "issues")
	opts.Token = cmp.Or(opts.Token, DemoToken)
	opts.CommentEvery = cmp.Or(opts.CommentEvery, 3)
	opts.PullRequestEvery = cmp.Or(opts.PullRequestEvery, 10)
	opts.NullPullRequestEvery = cmp.Or(opts.NullPullRequestEvery, 7)
	opts.Tie = max(opts.Tie, 1)
	opts.Step = cmp.Or(opts.Step, 10*time.Minute)
	opts.MaxPerPage = cmp.Or(opts.MaxPerPage, 100)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	u := &Upstream{Faults: NewFaults(opts.Seed), opts: opts, rule: newRule(opts), words: words()}
	u.store = newStore(u.rule)
	return u
}

// Start listens and serves until [Upstream.Close].
func (u *Upstream) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", u.opts.Addr)
	if err != nil {
		return fmt.Errorf("start the upstream: %w", err)
	}
	u.mu.Lock()
	u.url = "http://" + listener.Addr().String()
	u.mu.Unlock()
	u.server = &http.Server{
		Handler: u.Handler(), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(u.opts.Log.Handler(), slog.LevelWarn),
	}
	u.done = make(chan struct{})
	go func() {
		defer close(u.done)
		if err := u.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			u.opts.Log.Error("upstream stopped", "error", err)
		}
	}()
	return nil
}

// Close stops serving at once, requests under way included. An upstream that was never started is left as it is.
func (u *Upstream) Close() error {
	u.stopHooks()
	if u.server == nil {
		return nil
	}
	err := u.server.Close()
	<-u.done
	return err
}

// URL is the base of the API, without a slash at the end; empty before [Upstream.Start].
func (u *Upstream) URL() string {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.url
}

// Owner is the owner of the one repository.
func (u *Upstream) Owner() string { return u.opts.Owner }

// Repo is the name of the one repository.
func (u *Upstream) Repo() string { return u.opts.Repo }

// Token is what clients must send.
func (u *Upstream) Token() string { return u.opts.Token }

// now is the server's time in whole seconds, as GitHub keeps it.
func (u *Upstream) now() time.Time { return u.opts.Now().UTC().Truncate(time.Second) }
