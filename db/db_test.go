package db_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary/db"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// released are the migrations in the order in which they were added. The first were not numbered in that order; later ones are.
var released = [][]string{
	{"00001", "00002", "00003", "00004"},
	{"00010"},
	{"00014", "00013", "00012", "00011"},
	{"00031", "00030"},
	{"00005"},
	{"00015"},
	{"00020"},
	{"00016"},
	{"00017"},
}

// steps are the migrations with some numbers.
func steps(t *testing.T, numbers []string) fs.FS {
	t.Helper()
	some := fstest.MapFS{}
	for _, number := range numbers {
		files, err := fs.Glob(db.Migrations, "migrations/"+number+"_*.sql")
		if err != nil || len(files) != 1 {
			t.Fatal("migration", number, files, err)
		}
		content, err := fs.ReadFile(db.Migrations, files[0])
		if err != nil {
			t.Fatal(err)
		}
		some[filepath.Base(files[0])] = &fstest.MapFile{Data: content}
	}
	return some
}

// emptyDatabase is the address of a database without migrations.
func emptyDatabase(t *testing.T) string {
	t.Helper()
	address := pgtest.URL(t)
	exec1(t, address, "drop schema public cascade; create schema public")
	return address
}

func exec1(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func query[T any](t *testing.T, address, sql string) []T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// schemaQuery describes columns, indexes, constraints, functions and triggers.
const schemaQuery = `select table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') from information_schema.columns where table_schema = 'public'
union all select indexdef from pg_indexes where schemaname = 'public'
union all select conrelid::regclass || ' ' || pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace
union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace
union all select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
order by 1`

const data = `insert into integrations (id, provider, name, sync_cursor, created_at, updated_at) values ('00000000-0000-7000-8000-000000000001', 'shop', 'one', '42', now(), now());
insert into sync_runs (id, integration_id, provider, mode, cause, state, attempt, window_from, heartbeat_at, cursor_version, created_at)
values ('00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-000000000001', 'shop', 'full', 'command', 'working', 3, now(), now(), 1, now());
insert into records (integration_id, event_type, external_id, payload, run_id, created_at, updated_at)
values ('00000000-0000-7000-8000-000000000001', 'shop.Order', '1', '{"cents": 1}', '00000000-0000-7000-8000-000000000002', now(), now())`

// A database of any earlier version comes up to date and keeps its data, whichever numbers it lacks.
func TestDatabasesOfEarlierVersionsComeUpToDate(t *testing.T) {
	t.Parallel()
	want := query[string](t, pgtest.URL(t), schemaQuery)
	for version := range released {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			t.Parallel()
			address := emptyDatabase(t)
			for past := range version + 1 {
				if _, err := db.MigrateFrom(t.Context(), address, steps(t, slices.Concat(released[:past+1]...))); err != nil {
					t.Fatal(err)
				}
				if past == 0 {
					exec1(t, address, data)
				}
			}
			if _, err := db.Migrate(t.Context(), address); err != nil {
				t.Fatal(err)
			}
			if got := query[string](t, address, schemaQuery); !slices.Equal(got, want) {
				t.Errorf("the schema is not that of a new database:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			const kept = "select sync_cursor || ' ' || attempt || ' ' || state || ' ' || payload::text from integrations i join sync_runs r on r.integration_id = i.id join records o on o.integration_id = i.id"
			if got := query[string](t, address, kept); !slices.Equal(got, []string{`42 3 working {"cents": 1}`}) {
				t.Errorf("the data is %q", got)
			}
		})
	}
}

func TestInspectNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	inspect := func() db.State {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		state, err := db.Inspect(t.Context(), func(ctx context.Context, sql string) db.Row { return conn.QueryRow(ctx, sql) })
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	if got := inspect(); len(got.Missing) != 0 || len(got.Unknown) != 0 {
		t.Errorf("a database that is up to date lacks %v and has %v", got.Missing, got.Unknown)
	}
	// A lower number than the newest is missed too.
	exec1(t, address, "delete from goose_db_version where version_id = 16; insert into goose_db_version (version_id, is_applied) values (99999, true)")
	if got := inspect(); !slices.Equal(got.Missing, []string{"00016_mappings"}) || !slices.Equal(got.Unknown, []int64{99999}) {
		t.Errorf("lacks %v and has %v, want 00016_mappings and 99999", got.Missing, got.Unknown)
	}
	exec1(t, address, "drop table goose_db_version")
	if got := inspect(); len(got.Missing) == 0 || got.Missing[0] != "00001_integrations" {
		t.Errorf("an empty database lacks %v", got.Missing)
	}
}

// Since the commit that added this test, migrations are only added, each with a greater number than all before.
func TestMigrationsOnlyGrow(t *testing.T) {
	t.Parallel()
	git := func(arguments ...string) string {
		out, err := exec.CommandContext(t.Context(), "git", arguments...).Output()
		if err != nil {
			t.Skipf("the history of the migrations can't be read here: git %s: %v", strings.Join(arguments, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	if git("rev-parse", "--is-shallow-repository") == "true" {
		t.Skip("the history of the migrations is not here: this is a shallow clone; run: git fetch --unshallow")
	}
	first := git("log", "--diff-filter=A", "--format=%H", "--", "db_test.go")
	if first == "" {
		first = git("rev-parse", "HEAD") // the test is not committed yet
	}
	first = strings.Fields(first)[0]
	greatest := 0
	for file := range strings.Lines(git("ls-tree", "--name-only", first, "migrations/")) {
		greatest = max(greatest, numberOf(t, file))
	}
	changes := git("log", "--reverse", "--no-renames", "--topo-order", "--format=", "--name-status", first+"..HEAD", "--", "migrations")
	changes += "\n" + git("diff", "--no-renames", "--name-status", "HEAD", "--", "migrations")
	for change := range strings.Lines(changes) {
		status, file, ok := strings.Cut(strings.TrimSpace(change), "\t")
		switch {
		case !ok:
		case status != "A":
			t.Errorf("%s was changed or removed (%s): databases that have it stay as they are; undo that, and add a migration", file, status)
		case numberOf(t, file) <= greatest:
			t.Errorf("%s was added after a migration with the number %d; number it higher", file, greatest)
		default:
			greatest = numberOf(t, file)
		}
	}
}

func numberOf(t *testing.T, file string) int {
	t.Helper()
	match := regexp.MustCompile(`^(\d{5})_[a-z0-9_]+\.sql$`).FindStringSubmatch(filepath.Base(strings.TrimSpace(file)))
	if match == nil {
		t.Fatalf("%q is not named as migrations are: 00042_what_it_does.sql", file)
	}
	number, _ := strconv.Atoi(match[1])
	return number
}
