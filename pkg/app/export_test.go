package app

import (
	"io"

	"github.com/alecthomas/kong"
)

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
