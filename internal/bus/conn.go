package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// pingEvery and pingsOut have a connection given up whose server has sent nothing for 20 to 30 s.
	pingEvery, pingsOut = 10 * time.Second, 2
	// silentMost is how long a connection may take at most to notice that.
	silentMost = time.Minute
	// writeTimeout is how long the network may take what is sent.
	writeTimeout = 10 * time.Second
)

// ConnOptions are the options of a connection that a bus can work with: own, and what they leave open of what services
// need. The connection's ends and returns are logged.
func ConnOptions(log *slog.Logger, own ...nats.Option) []nats.Option {
	var most limit
	opts := []nats.Option{
		nats.Name("tributary"),
		nats.MaxReconnects(-1),
		// Nothing is kept for a server that is away: what comes back may be an older state of it, for which
		// acknowledgements and expected revisions mean other messages.
		nats.ReconnectBufSize(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsOut),
		// What was written in part can't be gone on with.
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(),
		nats.ConnectHandler(func(nc *nats.Conn) { most.learn(log, nc) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("NATS connection lost, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("NATS connection is back")
			most.learn(log, nc)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("NATS reports", "error", err)
		}),
	}
	return append(append(opts, own...), surviveViolations)
}

// CheckConn returns an error, which names the options, if a connection lacks what a bus needs: see [ConnOptions].
func CheckConn(nc *nats.Conn) error {
	if nc.IsClosed() || nc.IsDraining() {
		return errors.New("the connection to NATS is closed")
	}
	o := nc.Opts
	var lacks []string
	for _, option := range []struct {
		is   bool
		want string
	}{
		{o.AllowReconnect && o.MaxReconnect < 0, "nats.MaxReconnects(-1)"},
		{o.ReconnectBufSize < 0, "nats.ReconnectBufSize(-1)"},
		{
			o.PingInterval > 0 && o.PingInterval*time.Duration(o.MaxPingsOut+1) <= silentMost,
			"nats.PingInterval and MaxPingsOutstanding below a minute",
		},
		{
			o.FlusherTimeout > 0 && o.FlusherTimeout <= silentMost && o.ReconnectOnFlusherError,
			"nats.ReconnectOnFlusherError()",
		},
		{!o.NoEcho, "no nats.NoEcho()"},
		{survivesViolations(&o), "a dialer that survives a lowered max_payload"},
	} {
		if !option.is {
			lacks = append(lacks, option.want)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("the connection to NATS lacks what services need: %s", strings.Join(lacks, ", "))
}

// Close takes back what the bus has subscribed to on its connection, which stays open.
func (b *Bus) Close() { b.offers.CleanupPublisher() }
