package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Output is the flag of every command that prints something.
type Output struct {
	JSON bool `name:"json" help:"Print JSON, for scripts."`
}

// print writes a value as JSON, or has text write it for people.
func (o Output) print(env *Env, value any, text func() error) error {
	if !o.JSON {
		return text()
	}
	encoder := json.NewEncoder(env.Out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// outcome is a command's reply as --json prints it.
type outcome struct {
	Accepted bool   `json:"accepted"`
	Result   string `json:"result"`
	RunID    string `json:"run_id"`
}

func (o Output) printReply(env *Env, reply *eventsv1.CommandReply) error {
	return o.print(env, outcome{Accepted: reply.GetAccepted(), Result: reply.GetResult(), RunID: reply.GetRunId()}, func() error {
		text := reply.GetResult()
		if reply.GetRunId() != "" {
			text += ": run " + reply.GetRunId()
		}
		return say(env, text)
	})
}

func say(env *Env, text string) error {
	_, err := fmt.Fprintln(env.Out, text)
	return err
}

// mostCell is how much of a cell a table shows, and mostLast of the last one, which pads no other: --json has all.
const mostCell, mostLast = 60, 240

// table writes rows in columns. Nothing in a cell can break the line or the terminal. The first cell is whole: it names the row for other commands.
func table(env *Env, header []string, rows [][]string) error {
	w := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, 0, len(row))
		for i, cell := range row {
			switch i {
			case 0:
			case len(row) - 1:
				cell = Cut(cell, mostLast)
			default:
				cell = Cut(cell, mostCell)
			}
			cells = append(cells, OneLine(cell))
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// pair is a line of a sheet.
type pair struct{ name, value string }

// sheet writes one thing, a line for each of its parts that has a value.
func sheet(env *Env, pairs []pair) error {
	w := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
	for _, p := range pairs {
		if p.value == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\n", p.name, OneLine(p.value)); err != nil {
			return err
		}
	}
	return w.Flush()
}

// OneLine keeps upstream text from writing anything but text.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// Cut is the beginning of a text of more than most characters, with a mark in the place of the rest.
func Cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// ago tells a time from now, in one unit.
func ago(now time.Time, at *time.Time) string {
	if at == nil {
		return "never"
	}
	d := now.Sub(*at)
	if d < 0 {
		return "in " + short(-d)
	}
	return short(d) + " ago"
}

func short(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func stamp(at *time.Time) string {
	if at == nil {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
