package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary/internal/watchdog"
)

const (
	// pollEvery is how often a store that can't listen for notifications supposes one.
	pollEvery = time.Second
	// hearEvery is for how long a connection may hear nothing before it is asked for a sign of life.
	hearEvery = 15 * time.Second
)

// Listening is how a store hears of notifications. The zero value listens on a connection of the pool.
type Listening struct {
	// Direct leads past a pooler, through which no notification comes. Nil means that the pool's connections lead to Postgres itself.
	Direct *pgx.ConnConfig
	// Poll has the store suppose a notification every second instead of listening.
	Poll bool
}

// hearing is for how long a connection that listens may hear nothing before it is asked, and within how long it has to
// answer.
type hearing struct{ every, within time.Duration }

// ListenBy sets how the store hears of notifications; without it, it listens on a connection of the pool. It is called before Listen.
func (s *Store) ListenBy(how Listening) { s.listening = how }

// Listen calls fn with the payload of every notification on a channel, until ctx ends. At the start and after each reconnection, when any number
// may have been missed, it calls fn with an empty one.
func (s *Store) Listen(ctx context.Context, channel string, fn func(payload string)) {
	watched := func(payload string) {
		_ = watchdog.Step(ctx, "hear of "+channel, func(context.Context) error { fn(payload); return nil })
	}
	if s.listening.Poll {
		poll(ctx, watched)
	}
	for ctx.Err() == nil {
		_ = s.listenOnce(ctx, channel, watched)
		select {
		case <-ctx.Done():
		case <-time.After(connectEvery):
		}
	}
}

func (s *Store) listenOnce(ctx context.Context, channel string, fn func(payload string)) error {
	raw, err := s.listenConn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close(context.WithoutCancel(ctx)) }()
	answers := func(sql string) error {
		ctx, cancel := context.WithTimeout(ctx, s.hearing.within)
		defer cancel()
		_, err := raw.Exec(ctx, sql)
		return err
	}
	if err := answers("listen " + pgx.Identifier{channel}.Sanitize()); err != nil {
		return err
	}
	for fn(""); ; {
		payload, heard, err := s.hear(ctx, raw)
		if err == nil && !heard {
			// A channel on which nothing comes looks like one whose connection is lost.
			err = answers("-- ping")
		}
		if err != nil {
			return err
		}
		if heard {
			fn(payload)
		}
	}
}

// hear waits for a notification, for a while.
func (s *Store) hear(ctx context.Context, raw *pgx.Conn) (payload string, heard bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, s.hearing.every)
	defer cancel()
	notification, err := raw.WaitForNotification(waiting)
	switch {
	case err == nil:
		return notification.Payload, true, nil
	case waiting.Err() != nil && ctx.Err() == nil:
		return "", false, nil
	}
	return "", false, err
}

func (s *Store) listenConn(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.hearing.within)
	defer cancel()
	if s.listening.Direct != nil {
		return pgx.ConnectConfig(ctx, s.listening.Direct)
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	// A connection that listens does not go back to the pool.
	return conn.Hijack(), nil
}

// poll calls fn every second, as if any number of notifications had been missed.
func poll(ctx context.Context, fn func(payload string)) {
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	for fn(""); ; fn("") {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}
