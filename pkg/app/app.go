// Package app makes a program of your providers: the same commands, services and flags as the stock binary, with your providers and handlers
// compiled in.
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
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/pkg/contracts"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// Providers are found by key: a short lower-case name that stands in subjects, URLs and tables, and never changes.
type Providers map[string]contracts.Provider

// Option adds to a program.
type Option func(*options)

type options struct {
	handlers map[string][]itemworker.ItemHandler
	kms      KMS
}

// OnItem has fn called for every item whose event is a T, wherever it comes from. Several handlers of one event run one after the
// other, and all must return nil for the item to be done. An item may be handled more than once, so fn must be idempotent. What fn
// returns decides the item's fate: see [contracts.Permanent], [contracts.RetryAfter] and [contracts.Skip]. Items without a handler go to the records table.
func OnItem[T any](fn func(ctx context.Context, in *contracts.Integration, item T) error) Option {
	var zero T
	name := contracts.EventType(zero)
	return func(o *options) {
		o.handlers[name] = append(o.handlers[name], func(ctx context.Context, in *contracts.Integration, payload []byte) error {
			var item T
			// The decoder of Go 1.27, with the meaning of encoding/json: that of Go 1.26 takes three times as long.
			if err := jsonv1.Unmarshal(payload, &item); err != nil {
				return contracts.Permanent(fmt.Errorf("decode %s: %w", name, err))
			}
			return fn(ctx, in, item)
		})
	}
}

// OnRawItem is [OnItem] for code that needs no Go value: to pass records on, or to count them. fn is called for every item of the event type, such as
// "acme.Order", with its JSON, which it must not change.
func OnRawItem(eventType string, fn func(ctx context.Context, in *contracts.Integration, item json.RawMessage) error) Option {
	return func(o *options) {
		o.handlers[eventType] = append(o.handlers[eventType], func(ctx context.Context, in *contracts.Integration, payload []byte) error {
			return fn(ctx, in, payload)
		})
	}
}

// Main runs the command that the arguments name, and exits: 0 when all went well, 2 when the command line is wrong, another code
// otherwise. The first interrupt stops it cleanly, the second at once.
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
	o := options{handlers: map[string][]itemworker.ItemHandler{}}
	for _, opt := range opts {
		opt(&o)
	}
	root := &commands{}
	exited := -1
	parser, err := kong.New(root, kong.Name("tributary"), kong.Description("Connects a product to third-party APIs: scheduled syncs in which no item is lost."),
		kong.UsageOnError(), kong.Help(printHelp), kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
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
	p := &program{ctx: ctx, streams: streams, config: root.Config, providers: providers, handlers: o.handlers, kms: o.kms}
	err = p.runCommand(parsed)
	if err != nil && !errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintln(streams.Err, "tributary:", err)
	}
	return cli.ExitCode(err)
}
