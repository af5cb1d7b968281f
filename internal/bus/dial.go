package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
)

// errURL says nothing of the URL, which may hold a password anywhere.
var errURL = errors.New("the URL of NATS can't be read; it looks like nats://user:password@localhost:4222, or " +
	"several of these with commas")

// Connect connects to NATS at a URL, or at one of several separated by commas, and doesn't wait for it. Errors show no
// password.
func Connect(servers string, opts ...nats.Option) (*nats.Conn, error) {
	shown, err := Redact(servers)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(servers, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", shown, err)
	}
	return nc, nil
}

// Dial is Connect with [ConnOptions], for services: it waits, says once that the server can't be reached, and tries
// again until ctx ends.
func Dial(ctx context.Context, servers string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	opts = ConnOptions(log, opts...)
	for waiting := false; ; waiting = true {
		nc, err := Connect(servers, opts...)
		if err == nil {
			return nc, nil
		}
		if !errors.Is(err, nats.ErrNoServers) && !errors.Is(err, nats.ErrTimeout) && !isNetwork(err) {
			return nil, err
		}
		if !waiting {
			log.Warn("waiting for NATS; start one or point --nats-url at it", "error", err)
		}
		if stopped := pause(ctx, dialEvery); stopped != nil {
			return nil, fmt.Errorf("%w (%w)", err, stopped)
		}
	}
}

// Redact is the URL of NATS, or several separated by commas, as it may be shown: without passwords and tokens. The
// error shows nothing of what can't be read.
func Redact(servers string) (string, error) {
	var shown []string
	for server := range strings.SplitSeq(servers, ",") {
		server = strings.TrimSpace(server)
		if server == "" {
			continue
		}
		if !strings.Contains(server, "://") {
			server = "nats://" + server // as the client reads it
		}
		u, err := url.Parse(server)
		if err != nil {
			return "", errURL
		}
		// A user without a password is a token.
		if _, both := u.User.Password(); u.User != nil && !both {
			u.User = url.User("xxxxx")
		}
		shown = append(shown, u.Redacted())
	}
	return strings.Join(shown, ","), nil
}
