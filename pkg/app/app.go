// Package app makes a program of your providers: the same commands, services and flags as the stock binary, with your
// providers and handlers compiled in. A program that has flags and connections of its own uses the root package
// instead.
//
//	func main() {
//		app.Main(app.Providers{"acme": acme.Provider{}},
//			app.OnItem(func(ctx context.Context, in *contracts.Integration, order acme.Order) error { … }))
//	}
//
// A binary takes only its own providers' work, so that it can run beside the stock one on the same NATS.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Providers are found by key: see [tributary.Providers].
type Providers = tributary.Providers

// Option adds to a program.
type Option func(*options)

type options struct {
	runtime []tributary.Option
	kms     KMS
}

// With adds options of the front door, such as middleware.
func With(opts ...tributary.Option) Option {
	return func(o *options) { o.runtime = append(o.runtime, opts...) }
}

// OnItem has fn called for every item whose event is a T: see [tributary.OnItem].
func OnItem[T any](fn func(ctx context.Context, in *contracts.Integration, item T) error) Option {
	return With(tributary.OnItem(fn))
}

// OnRawItem has fn called with the JSON of every item of an event type: see [tributary.OnRawItem].
func OnRawItem(eventType string, fn func(ctx context.Context, in *contracts.Integration,
	item json.RawMessage) error,
) Option {
	return With(tributary.OnRawItem(eventType, fn))
}

// KMS decrypts the keys of a ring that are stored encrypted: see [tributary.KMS].
type KMS = tributary.KMS

// WithKMS lets a key ring hold keys that a KMS has encrypted.
func WithKMS(kms KMS) Option {
	return func(o *options) { o.kms = kms }
}

// Main runs the command that the arguments name, and exits: 0 when all went well, 2 when the command line is wrong,
// another code otherwise. The first interrupt stops it cleanly, the second at once.
func Main(providers Providers, opts ...Option) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := Run(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, providers, opts...)
	stop()
	os.Exit(code)
}

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run is Main for tests: it returns the exit code.
func Run(ctx context.Context, args []string, streams Streams, providers Providers, opts ...Option) int {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	root := &commands{}
	exited := -1
	parser, err := kong.New(root, kong.Name("tributary"),
		kong.Description("Connects a product to third-party APIs: scheduled syncs in which no item is lost."),
		kong.UsageOnError(), kong.Help(printHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Writers(streams.Out, streams.Err), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		_, _ = fmt.Fprintln(streams.Err, "tributary:", err)
		return cli.ExitUsage
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err == nil {
		err = exposed(args)
	}
	if err != nil {
		_, _ = fmt.Fprintln(streams.Err, "tributary:", cli.Explain(err))
		return cli.ExitUsage
	}
	p := &program{ctx: ctx, streams: streams, config: root.Config, providers: providers, options: o.runtime, kms: o.kms}
	err = p.runCommand(parsed)
	if err != nil && !errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintln(streams.Err, "tributary:", err)
	}
	return cli.ExitCode(err)
}
