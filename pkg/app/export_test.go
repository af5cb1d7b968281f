package app

import (
	"context"
	"io"

	"github.com/alecthomas/kong"
)

// ChoosePort is how dev chooses one, of those that are free.
func ChoosePort(ctx context.Context, folder string, usual int, free func(int) bool) (int, error) {
	kept := (&Config{DataDir: folder}).keptPorts()
	kept.free = func(_ context.Context, port int) bool { return free(port) }
	return kept.choose(ctx, "metrics", usual)
}

// Parse reads a command line as Run does, and does nothing with it.
func Parse(args []string) error {
	helped := false
	parser, err := kong.New(&commands{}, kong.Name("tributary"), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) { helped = true }))
	if err != nil {
		return err
	}
	if _, err = parser.Parse(args); helped {
		return nil
	}
	return err
}
