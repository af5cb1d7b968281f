package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/octokit"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	demo "github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// TestProveRealPayloads syncs the issues and comments that GitHub itself has sent through the whole path, and wants each of them in the records table
// field by field. No handler takes them, so that the built-in sink does. Where two of them have the same number or id, they are in
// repositories of their own, with an integration each.
func TestProveRealPayloads(t *testing.T) {
	if !octokit.Asked() {
		t.Skip(octokit.Unasked)
	}
	repositories, err := octokit.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.startAll()
	issues, comments, equal := 0, 0, 0
	var proofs []*proof
	for i, r := range repositories {
		issues += len(r.Issues)
		comments += len(r.Comments)
		proofs = append(proofs, newProof(w, fmt.Sprintf("real-%d", i+1), r))
	}
	for _, p := range proofs {
		w.wantRun(w.awaitClosed(p.id, 1), "succeeded", int64(len(p.want)), 0)
		equal += p.wantRecords()
	}
	t.Logf("%d issues and %d comments in %d repositories: %d are not of pull requests, %d came out equal",
		issues, comments, len(repositories), total(proofs), equal)

	edited, p := edit(t, proofs)
	w.command(events.VerbSync, p.name, "")
	run := w.awaitClosed(p.id, 2)
	if run.State != "succeeded" {
		t.Errorf("the run after the edit is %s: %s", run.State, run.Error)
	}
	p.wantRecords()
	for id, r := range p.records() {
		if (r.run == run.ID) != (id == edited) {
			t.Errorf("%s was last written by run %s; the edit of %s came with run %s", id, r.run, edited, run.ID)
		}
	}
	t.Logf("the edit of %s came through, and nothing else", edited)
}

// proof is one repository on its way through.
type proof struct {
	w        *world
	upstream *demo.Upstream
	name     string
	id       uuid.UUID
	// want are the fields of the records to come, by event type and external id.
	want map[string]map[string]any
}

type record struct {
	run    uuid.UUID
	fields map[string]any
}

// newProof serves a repository in small pages, and makes an integration of it that is due now.
func newProof(w *world, name string, r octokit.Repository) *proof {
	w.t.Helper()
	u := demo.New(demo.Options{MaxPerPage: 3})
	if err := u.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = u.Close() })
	if err := r.Serve(u); err != nil {
		w.t.Fatal(err)
	}
	items, err := r.Items()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &proof{w: w, upstream: u, name: name, id: postgres.NewID(), want: map[string]map[string]any{}}
	for id, raw := range items {
		p.want[id] = fieldsOf(w.t, raw)
	}
	p.create()
	return p
}

func (p *proof) create() {
	p.w.t.Helper()
	now := time.Now()
	metadata, err := json.Marshal(github.Metadata{Owner: p.upstream.Owner(), Repo: p.upstream.Repo(), BaseURL: p.upstream.URL()})
	if err != nil {
		p.w.t.Fatal(err)
	}
	credentials, err := json.Marshal(github.Credentials{Token: p.upstream.Token()})
	if err != nil {
		p.w.t.Fatal(err)
	}
	err = p.w.store.InTx(p.w.t.Context(), func(tx *postgres.Tx) error {
		_, err := tx.IntegrationInsert(p.w.t.Context(), dbsqlc.IntegrationInsertParams{
			ID: p.id, Provider: "github", Name: p.name, Metadata: metadata, NextSyncAt: &now, Now: now,
		})
		if err != nil {
			return err
		}
		_, err = p.w.store.PutCredentials(p.w.t.Context(), tx, p.id, credentials, 0, postgres.Access{At: now})
		return err
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
}

// records reads the built-in sink's table.
func (p *proof) records() map[string]record {
	p.w.t.Helper()
	pool, err := pgxpool.New(p.w.t.Context(), p.w.database)
	if err != nil {
		p.w.t.Fatal(err)
	}
	defer pool.Close()
	rows, err := pool.Query(p.w.t.Context(), "select event_type, external_id, run_id, payload::text from records where integration_id = $1", p.id)
	if err != nil {
		p.w.t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]record{}
	for rows.Next() {
		var event, external, payload string
		var run uuid.UUID
		if err := rows.Scan(&event, &external, &run, &payload); err != nil {
			p.w.t.Fatal(err)
		}
		all[event+" "+external] = record{run: run, fields: fieldsOf(p.w.t, []byte(payload))}
	}
	if err := rows.Err(); err != nil {
		p.w.t.Fatal(err)
	}
	return all
}

// wantRecords fails unless the records are those that were wanted: none missing, none besides, none different. It returns how many are.
func (p *proof) wantRecords() int {
	p.w.t.Helper()
	got, equal := map[string]map[string]any{}, 0
	for id, r := range p.records() {
		got[id] = r.fields
		if cmp.Equal(p.want[id], r.fields, exactly) {
			equal++
		}
	}
	if d := cmp.Diff(p.want, got, exactly); d != "" {
		p.w.t.Errorf("%s (-GitHub's +ours):\n%s", p.name, d)
	}
	return equal
}

// edit changes the title of an open issue upstream, and what is wanted with it.
func edit(t *testing.T, proofs []*proof) (id string, of *proof) {
	t.Helper()
	for _, p := range proofs {
		for _, id := range slices.Sorted(maps.Keys(p.want)) {
			closed, hasClosed := p.want[id]["closed_at"]
			number, _ := p.want[id]["number"].(json.Number)
			key, err := strconv.Atoi(number.String())
			if err != nil || p.want[id]["state"] != "open" || !hasClosed || closed != nil {
				continue
			}
			title := "Edited after it was synced"
			if err := p.upstream.Edit(key, demo.Change{Title: &title}); err != nil {
				t.Fatal(err)
			}
			for r := range p.upstream.Issues() {
				if r.Key == key {
					p.want[id]["title"], p.want[id]["updated_at"] = title, r.UpdatedAt.Format(time.RFC3339)
				}
			}
			return id, p
		}
	}
	t.Fatal("no issue is open")
	return "", nil
}

func total(proofs []*proof) (n int) {
	for _, p := range proofs {
		n += len(p.want)
	}
	return n
}

func fieldsOf(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// exactly compares numbers by their value to the last digit: jsonb may write them in another way.
var exactly = cmp.Comparer(func(a, b json.Number) bool {
	x, isX := new(big.Rat).SetString(a.String())
	y, isY := new(big.Rat).SetString(b.String())
	return isX && isY && x.Cmp(y) == 0
})
