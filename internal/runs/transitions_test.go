package runs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/runstate"
)

// query is one of db/queries, without its comments.
type query struct{ name, sql string }

var (
	named      = regexp.MustCompile(`(?m)^-- name: (\w+) .*$`)
	commented  = regexp.MustCompile(`(?m)--.*$`)
	writesRun  = regexp.MustCompile(`(?i)\b(insert into|update|delete from)\s+sync_runs\b`)
	assigns    = regexp.MustCompile(`(?is)\bset\b(.*?)(\bfrom\b|\bwhere\b)`)
	setsState  = regexp.MustCompile(`(?s)\bstate\s*=\s*(.*?)(,\s*\w+\s*=|$)`)
	quotedWord = regexp.MustCompile(`'(\w+)'`)
)

// queriesThatWriteRuns are those that insert, update or delete rows of sync_runs.
func queriesThatWriteRuns(t *testing.T) (found []query) {
	t.Helper()
	files, err := filepath.Glob("../../db/queries/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d files with queries: %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		places := named.FindAllStringSubmatchIndex(text, -1)
		for i, place := range places {
			end := len(text)
			if i+1 < len(places) {
				end = places[i+1][0]
			}
			q := query{name: text[place[2]:place[3]], sql: commented.ReplaceAllString(text[place[1]:end], "")}
			if writesRun.MatchString(q.sql) {
				found = append(found, q)
			}
		}
	}
	return found
}

// written are the states that a query writes literally, and whether it writes the state at all.
func (q query) written() (states []runstate.State, writes bool) {
	text := q.sql
	if strings.Contains(strings.ToLower(q.sql), "update sync_runs") {
		assigned := assigns.FindStringSubmatch(q.sql)
		if assigned == nil {
			return nil, true
		}
		value := setsState.FindStringSubmatch(assigned[1])
		if value == nil {
			return nil, false
		}
		text = value[1]
	}
	for _, word := range quotedWord.FindAllStringSubmatch(text, -1) {
		states = append(states, runstate.State(word[1]))
	}
	return states, !strings.Contains(strings.ToLower(q.sql), "delete from sync_runs")
}

// TestQueriesWriteStatesOfTheTable refuses a query that writes a state of which no transition tells.
func TestQueriesWriteStatesOfTheTable(t *testing.T) {
	t.Parallel()
	to := map[string][]runstate.State{}
	for _, transition := range runs.Transitions() {
		to[transition.Query] = append(to[transition.Query], transition.To...)
	}
	for _, q := range queriesThatWriteRuns(t) {
		states, writes := q.written()
		allowed, known := to[q.name]
		if writes != known {
			t.Errorf("%s writes a state: %t; a transition names it: %t", q.name, writes, known)
		}
		for _, state := range states {
			if writes && !slices.Contains(allowed, state) {
				t.Errorf("%s writes the state %s, and its transition has only %v", q.name, state, allowed)
			}
		}
		delete(to, q.name)
	}
	for name := range to {
		t.Errorf("a transition names the query %s, which does not write runs", name)
	}
}

// TestTransitionsReachEveryState finds a state that no transition leads to, and a table that does not exist.
func TestTransitionsReachEveryState(t *testing.T) {
	t.Parallel()
	reached := map[runstate.State]bool{}
	tables := regexp.MustCompile(`create table (?:if not exists )?(\w+)`)
	exist := map[string]bool{}
	files, err := filepath.Glob("../../db/migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, made := range tables.FindAllStringSubmatch(string(content), -1) {
			exist[made[1]] = true
		}
	}
	for _, transition := range runs.Transitions() {
		for _, state := range transition.To {
			reached[state] = true
		}
		for _, table := range transition.Writes {
			if !exist[table] {
				t.Errorf("%s writes the table %s, which no migration makes", transition.Name, table)
			}
		}
	}
	for _, state := range runstate.All() {
		if !reached[state] {
			t.Errorf("no transition leads to the state %s", state)
		}
	}
}
