package postgres_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
)

const (
	// historyRows is how large each table is. Planners choose the same plans from here on, and a plan that reads a share of a table exceeds the
	// limits. TRIBUTARY_PLAN_ROWS sets another number; make prove uses a million.
	historyRows = 40_000
	// mostRead and mostBuffers are the limits of a query that has none of its own. They do not depend on historyRows.
	mostRead    = 4_000
	mostBuffers = 40_000
	// newest is how many of the newest rows are there when the statistics are made that are stale later.
	newest = 4_000
	// requestDays is for how many days there are requests, which have a partition for each.
	requestDays = 10
)

// generated is a query as sqlc wrote it.
type generated struct {
	name, sql string
	// parameters are the names of $1, $2 and so on, in lower case.
	parameters []string
}

// generatedQueries reads all queries from the generated package.
func generatedQueries(t *testing.T) map[string]generated {
	t.Helper()
	files, err := filepath.Glob("dbsqlc/*.sql.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no generated queries:", err)
	}
	texts, queries := map[string]string{}, map[string]generated{}
	var methods []*ast.FuncDecl
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range parsed.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				methods = append(methods, d)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if value, ok := spec.(*ast.ValueSpec); ok {
						if text, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value); err == nil {
							texts[value.Names[0].Name] = text
						}
					}
				}
			}
		}
	}
	for _, method := range methods {
		ast.Inspect(method, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			constant, ok := call.Args[1].(*ast.Ident)
			if !ok || texts[constant.Name] == "" {
				return true
			}
			q := generated{name: method.Name.Name, sql: texts[constant.Name]}
			for _, argument := range call.Args[2:] {
				switch a := argument.(type) {
				case *ast.SelectorExpr:
					q.parameters = append(q.parameters, strings.ToLower(a.Sel.Name))
				case *ast.Ident:
					q.parameters = append(q.parameters, strings.ToLower(a.Name))
				}
			}
			queries[q.name] = q
			return false
		})
	}
	return queries
}

// history is a database with much history.
type history struct {
	conn *pgx.Conn
	rows int
}

func newHistory(t *testing.T) *history {
	t.Helper()
	rows, err := strconv.Atoi(cmp.Or(os.Getenv("TRIBUTARY_PLAN_ROWS"), strconv.Itoa(historyRows)))
	if err != nil {
		t.Fatal("TRIBUTARY_PLAN_ROWS:", err)
	}
	conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	h := &history{conn: conn, rows: rows}
	h.script(t, "testdata/integrations.sql", 0, 0)
	return h
}

// script runs a file of SQL for a range of rows.
func (h *history) script(t *testing.T, file string, first, last int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	h.exec(t, strings.NewReplacer("$rows", strconv.Itoa(h.rows), "$first", strconv.Itoa(first), "$last", strconv.Itoa(last)).Replace(string(text)))
}

func (h *history) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := h.conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%v\n%.300s", err, sql)
	}
}

// node is a node of a plan, with what it did.
type node struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Rows     float64 `json:"Actual Rows"`
	Loops    float64 `json:"Actual Loops"`
	Removed  float64 `json:"Rows Removed by Filter"`
	Recheck  float64 `json:"Rows Removed by Index Recheck"`
	Hit      float64 `json:"Shared Hit Blocks"`
	Read     float64 `json:"Shared Read Blocks"`
	Plans    []node  `json:"Plans"`
}

// all calls fn with every node.
func (n node) all(fn func(node)) {
	fn(n)
	for _, child := range n.Plans {
		child.all(fn)
	}
}

// explain runs a prepared query, takes back what it did, and returns its plan.
func (h *history) explain(t *testing.T, prepared, values string) node {
	t.Helper()
	tx, err := h.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	execute := "explain (analyze, buffers, timing off, format json) execute " + prepared
	if values != "" {
		execute += "(" + values + ")"
	}
	var text []byte
	if err := tx.QueryRow(t.Context(), execute, pgx.QueryExecModeSimpleProtocol).Scan(&text); err != nil {
		t.Fatalf("%v\n%s", err, execute)
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal(text, &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan
}

// big are the tables that grow with history, or that hold what is kept of an upstream.
func (h *history) big(relation string) bool {
	switch strings.TrimRight(relation, "0123456789") {
	case "integrations", "credentials", "oauth_grants", "oauth_revocations", "oauth_states", "circuits", "webhook_sources", "deleted_integrations", "":
		return false // these have a row for each integration
	case "set_aside":
		return false // this has a row for what fails at present
	case "handled_types":
		return false // this has a row for each handler
	}
	return true
}

// atTheEdge reports whether a scan is of a partition that has less than a day: the history begins and ends within a day, and however few rows these have depends
// on the time of the test. They are rightly read whole. What would read all partitions so reads the whole days too.
func (h *history) atTheEdge(n node) bool {
	partition := strings.TrimRight(n.Relation, "0123456789") != n.Relation
	return partition && n.Rows+n.Removed < 0.9*float64(h.rows)/requestDays
}

// check complains of a plan that reads more than it must.
func (h *history) check(t *testing.T, p plan, got node) {
	t.Helper()
	read, used := 0.0, map[string]bool{}
	got.all(func(n node) {
		if n.Relation != "" || strings.HasPrefix(n.Type, "Bitmap Index") {
			used[n.Index] = true
		}
		if n.Type == "Seq Scan" && h.atTheEdge(n) {
			return
		}
		if n.Type == "Seq Scan" && h.big(n.Relation) && n.Loops > 0 && p.scans != n.Relation {
			t.Errorf("scans all of %s", n.Relation)
		}
		if h.big(n.Relation) && strings.HasSuffix(n.Type, "Scan") {
			read += (n.Rows + n.Removed + n.Recheck) * n.Loops
		}
	})
	if most := cmp.Or(p.reads, mostRead); read > float64(most) {
		t.Errorf("reads %.0f rows, the limit is %d", read, most)
	}
	if most := cmp.Or(p.buffers, mostBuffers); got.Hit+got.Read > float64(most) {
		t.Errorf("touches %.0f buffers, the limit is %d", got.Hit+got.Read, most)
	}
	if p.index != "" && !used[p.index] {
		t.Errorf("does not use %s, but %v", p.index, used)
	}
	if t.Failed() && testing.Verbose() {
		shown, _ := json.MarshalIndent(got, "", " ")
		t.Logf("%s", regexp.MustCompile(`(?m)^\s*"[^"]+": (0|""|null),?\n`).ReplaceAll(shown, nil))
	}
}

// TestPlans runs every query on much history, planned for its arguments and for any. What a query reads must not grow with history.
func TestPlans(t *testing.T) {
	t.Parallel()
	queries := generatedQueries(t)
	for name := range plans {
		if _, ok := queries[name]; !ok {
			t.Errorf("there is no query %s any more; remove it from plans", name)
		}
	}
	h := newHistory(t)
	h.script(t, "testdata/history.sql", h.rows-newest+1, h.rows)
	h.exec(t, "analyze")
	h.script(t, "testdata/history.sql", 1, h.rows-newest)
	h.exec(t, "set session_replication_role = default")
	explainAll := func(t *testing.T, only func(plan) bool) {
		t.Helper()
		for name, q := range queries {
			p, ok := plans[name]
			if !ok {
				t.Errorf("query %s has no entry in plans: say with which arguments it runs, and what it may read", name)
				continue
			}
			if only(p) {
				t.Run(name, func(t *testing.T) { h.explainQuery(t, q, p) })
			}
		}
	}
	hot := func(p plan) bool { return p.hot }
	t.Run("stale statistics", func(t *testing.T) {
		// They are of the newest rows alone, of which a larger share is open.
		explainAll(t, hot)
	})
	t.Run("no statistics", func(t *testing.T) {
		h.exec(t, "delete from pg_statistic; update pg_class set reltuples = -1, relpages = 0 where relkind = 'r'")
		explainAll(t, hot)
	})
	t.Run("statistics", func(t *testing.T) {
		h.exec(t, "analyze")
		explainAll(t, func(plan) bool { return true })
	})
}

func (h *history) explainQuery(t *testing.T, q generated, p plan) {
	t.Helper()
	prepared := fmt.Sprintf("q_%s", strings.ToLower(q.name))
	h.exec(t, "prepare "+prepared+" as "+q.sql)
	defer h.exec(t, "deallocate "+prepared)
	var types []string
	const typesOf = "select parameter_types::text[] from pg_prepared_statements where name = $1"
	if err := h.conn.QueryRow(t.Context(), typesOf, prepared).Scan(&types); err != nil {
		t.Fatal(err)
	}
	sets := p.arguments
	if len(sets) == 0 {
		sets = []arguments{nil}
	}
	for i, set := range sets {
		var values []string
		for n, name := range q.parameters {
			value, ok := set[name]
			if !ok {
				value, ok = usualArguments[name]
			}
			if !ok {
				value = anyOf(types[n])
			}
			values = append(values, value)
		}
		modes := []string{"force_custom_plan", "force_generic_plan"}
		if postgres.OptionalFilter(q.sql) {
			modes = modes[:1] // the store never lets these have another plan
		}
		for _, mode := range modes {
			t.Run(fmt.Sprintf("%d %s", i, mode), func(t *testing.T) {
				h.exec(t, "set plan_cache_mode = "+mode)
				h.check(t, p, h.explain(t, prepared, strings.Join(values, ", ")))
			})
		}
	}
}

// anyOf is some value of a type.
func anyOf(kind string) string {
	base, isArray := strings.CutSuffix(kind, "[]")
	value := map[string]string{
		"uuid": "id('new', 1)", "timestamp with time zone": "now()", "interval": "interval '1 minute'", "boolean": "false", "date": "current_date", "jsonb": "'{}'::jsonb",
		"integer": "1", "bigint": "1", "bytea": "''::bytea",
	}[base]
	if value == "" {
		value = "''::text"
	}
	if isArray {
		return "array[" + value + "]::" + kind
	}
	return value
}
