package app

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// printHelp shows a command with the flags of its own. The settings, which every command takes, are named in one
// sentence; they are shown in full by the program's own help and by commands that take nothing else, such as services.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	selected := ctx.Selected()
	if selected == nil || selected.Leaf() && len(selected.Flags) == 0 {
		return kong.DefaultHelpPrinter(options, ctx)
	}
	for _, flag := range ctx.Model.Flags {
		flag.Hidden = flag != ctx.Model.HelpFlag
	}
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	_, err := fmt.Fprintf(ctx.Stdout, "\nThe settings of all commands, such as --nats-url ($TRIBUTARY_NATS_URL), --database-url "+
		"($DATABASE_URL) and\n--data-dir ($TRIBUTARY_DATA_DIR), are listed by: %s --help\n", ctx.Model.Name)
	return err
}
