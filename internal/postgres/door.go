package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// door is a database to which no argument gets that would make a statement fail by its characters. U+FFFD stands for
// bytes of a text that are not UTF-8 and for U+0000, and JSON is repaired as package foreign does it. Package foreign
// cleans what others wrote before it gets here. This is the net below: an argument that is clean costs a look and no
// allocation.
type door struct{ dbsqlc.DBTX }

// Exec runs a statement.
func (d door) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return d.DBTX.Exec(ctx, sql, cleanArgs(args)...)
}

// Query runs a query.
func (d door) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return d.DBTX.Query(ctx, sql, cleanArgs(args)...)
}

// QueryRow runs a query for one row.
func (d door) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return d.DBTX.QueryRow(ctx, sql, cleanArgs(args)...)
}

func cleanArgs(args []any) []any {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			if !isStorable(arg) {
				args[i] = storable(arg)
			}
		case *string:
			if arg != nil && !isStorable(*arg) {
				cleaned := storable(*arg)
				args[i] = &cleaned
			}
		case []string:
			if !isAll(arg, isStorable) {
				args[i] = each(arg, storable)
			}
		case foreign.Text:
			// Without the type's name, pgx needs no reflection.
			args[i] = storable(arg.String())
		case []foreign.Text:
			args[i] = each(arg, func(text foreign.Text) string { return storable(text.String()) })
		case json.RawMessage:
			args[i] = repaired(arg)
		case []json.RawMessage:
			args[i] = each(arg, repaired)
		}
	}
	return args
}

func isStorable(text string) bool { return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 }

func storable(text string) string {
	if isStorable(text) {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}

// repaired is a document as jsonb takes it. One that can't be repaired is left for Postgres to refuse.
func repaired(raw json.RawMessage) json.RawMessage {
	if doc, err := foreign.EncodedJSON(raw); err == nil {
		return json.RawMessage(doc)
	}
	return raw
}

func isAll[T any](list []T, is func(T) bool) bool {
	return !slices.ContainsFunc(list, func(v T) bool { return !is(v) })
}

// each keeps nil, which is null and not an empty list.
func each[From, To any](list []From, to func(From) To) []To {
	if list == nil {
		return nil
	}
	made := make([]To, len(list))
	for i, v := range list {
		made[i] = to(v)
	}
	return made
}
