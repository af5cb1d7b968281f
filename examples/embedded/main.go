// Command embedded is a bookkeeping server that syncs orders by itself: it has flags, a logger, a pool, metrics and an
// HTTP server of its own, and runs Tributary's services in its process, on the same pool and connection.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tributaryhq/tributary"
)

func main() {
	database := flag.String("database", "postgres://localhost:5432/books", "where the books are kept")
	broker := flag.String("nats", nats.DefaultURL, "where NATS is")
	keys := flag.String("keys", "keys", "the file of the key ring")
	addr := flag.String("addr", "127.0.0.1:8080", "where the books can be read")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := serve(ctx, *database, *broker, *keys, *addr, logger)
	stop()
	if err != nil {
		logger.Error("stopped", "error", err)
		os.Exit(1)
	}
}

// serve opens what the program needs, and closes it after Tributary has stopped.
func serve(ctx context.Context, database, broker, keysFile, addr string, logger *slog.Logger) error {
	pool, err := openPool(ctx, database, logger)
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := connect(broker, logger)
	if err != nil {
		return err
	}
	defer nc.Close()
	keys, err := tributary.LoadKeys(ctx, keysFile, nil, logger)
	if err != nil {
		return err
	}
	if _, err := tributary.Migrate(ctx, pool, logger); err != nil {
		return err
	}
	b, err := newBooks(ctx, pool)
	if err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	runtime, err := b.runtime(nc, keys, logger, metrics)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: b.handler(runtime, metrics), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	// The server answers until Tributary has written down what is under way.
	defer func() { _ = server.Close() }()
	return runtime.Run(ctx)
}

// openPool opens a pool that the program and Tributary share.
func openPool(ctx context.Context, database string, logger *slog.Logger) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return nil, errors.New("the database's address can't be read")
	}
	config.MaxConns = 50 // 16 handlers in each of two lanes may hold one for their transaction
	tributary.PreparePool(config, logger)
	return pgxpool.NewWithConfig(ctx, config)
}

// connect makes a connection to NATS that the program and Tributary share.
func connect(url string, logger *slog.Logger) (*nats.Conn, error) {
	nc, err := nats.Connect(url, tributary.NATSOptions(logger, nats.Name("books"))...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return nc, nil
}

// handler serves the books, the metrics of the program and of Tributary, and whether both could do their work now.
func (b *books) handler(runtime *tributary.Runtime, metrics *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		for _, check := range runtime.Readiness() {
			if check.Err != nil {
				http.Error(w, check.Name+": not ready", http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /total", func(w http.ResponseWriter, r *http.Request) {
		total, err := b.total(r.Context())
		if err != nil {
			http.Error(w, "the books can't be read now", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, total)
	})
	return mux
}
