package postgres_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

const (
	firstKey  = "old:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	secondKey = "new.v2:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
)

// sealed is an integration with credentials, whose rows a test moves about.
type sealed struct {
	*testing.T
	pool *pgxpool.Pool
	id   uuid.UUID
	now  time.Time
}

func newSealed(t *testing.T) *sealed {
	t.Helper()
	s := &sealed{T: t, pool: pgtest.DB(t), id: postgres.NewID(), now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	_, err := s.store(firstKey).IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: s.id, Provider: "shop", Name: "main", Metadata: json.RawMessage("{}"), Now: s.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// store is the store of a process with a ring.
func (s *sealed) store(keys ...string) *postgres.Store {
	s.Helper()
	ring, err := secret.ParseRing(strings.Join(keys, ","))
	if err != nil {
		s.Fatal(err)
	}
	return postgres.New(s.pool, ring)
}

// put writes credentials over those of a version, a second later than the ones before.
func (s *sealed) put(by *postgres.Store, text string, version int64) (stored int64) {
	s.Helper()
	s.now = s.now.Add(time.Second)
	err := by.InTx(s.Context(), func(tx *postgres.Tx) (err error) {
		access := postgres.Access{Who: "test", Why: "test", At: s.now}
		stored, err = by.PutCredentials(s.Context(), tx, s.id, json.RawMessage(`"`+text+`"`), version, access)
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return stored
}

// wants wants credentials to be read, or an error if no text is given.
func (s *sealed) wants(from *postgres.Store, text string, version int64) {
	s.Helper()
	plain, stored, err := from.Credentials(s.Context(), s.id, postgres.Access{Who: "test", Why: "test", At: s.now})
	if stored != version {
		s.Errorf("version %d, want %d", stored, version)
	}
	if text == "" {
		named := err != nil && strings.Contains(err.Error(), s.id.String()) && strings.Contains(err.Error(), fmt.Sprint(version))
		if !errors.Is(err, secret.ErrOpen) || !named {
			s.Errorf("read %s, %v; want an error that names the integration and the version", plain, err)
		}
		return
	}
	if err != nil || string(plain) != `"`+text+`"` {
		s.Errorf("read %s, %v; want %q", plain, err, text)
	}
}

func (s *sealed) exec(statement string) {
	s.Helper()
	if _, err := s.pool.Exec(s.Context(), statement); err != nil {
		s.Fatal(err)
	}
}

// keep remembers how the credentials are sealed now. putBack puts that under the version which they have by then.
func (s *sealed) keep() {
	s.exec("drop table if exists kept; create table kept as select * from credentials")
}

func (s *sealed) putBack() {
	s.exec("update credentials c set key_id = k.key_id, sealed = k.sealed from kept k")
}

// Credentials that are put back under a newer version are refused, and can be replaced. Those of keys of the first
// format open as they always did.
func TestCredentialsAreOfOneVersion(t *testing.T) {
	s := newSealed(t)
	store := s.store(secondKey)
	first := s.put(store, "one", 0)
	s.keep()
	second := s.put(store, "two", first)
	s.wants(store, "two", second)
	s.putBack()
	s.wants(store, "", second)
	third := s.put(store, "three", second)
	s.wants(store, "three", third)
	// The whole row is a database that has gone back.
	s.exec("update credentials c set version = k.version from kept k")
	s.putBack()
	s.wants(store, "one", first)
	older := s.store(firstKey)
	fourth := s.put(older, "four", first)
	s.keep()
	fifth := s.put(older, "five", fourth)
	s.putBack()
	s.wants(older, "four", fifth)
}

// The version that is sealed is the one that the database would have given. Processes of the release before still ask
// it.
func TestVersionsOfCredentialsAreFences(t *testing.T) {
	s := newSealed(t)
	store := s.store(secondKey)
	version := s.put(store, "text", 0)
	if version != 1 {
		t.Errorf("the first version is %d", version)
	}
	for _, now := range []time.Time{
		s.now, s.now, s.now.Add(999 * time.Millisecond), s.now.Add(time.Hour), s.now,
		time.Date(2025, 1, 1, 0, 0, 0, 1, time.UTC),
		{},
	} {
		s.now = now
		var want int64
		row := s.pool.QueryRow(t.Context(), "select next_fence($1, $2)", version, now.Add(time.Second))
		if err := row.Scan(&want); err != nil {
			t.Fatal(err)
		}
		if version = s.put(store, "text", version); version != want {
			t.Errorf("version %d at %s, want %d", version, now, want)
		}
		s.wants(store, "text", version)
	}
}

// While the new key is rolled out, each process reads and replaces what others have written, whichever key seals for
// them.
func TestCredentialsWhileKeysAreRolledOut(t *testing.T) {
	s := newSealed(t)
	before, ahead, after := s.store(firstKey), s.store(firstKey, secondKey), s.store(secondKey, firstKey)
	version := s.put(before, "one", 0)
	for _, step := range []struct {
		name     string
		by, from *postgres.Store
	}{
		{"ahead", ahead, before},
		{"before", before, ahead},
		{"after", after, ahead},
		{"ahead again", ahead, after},
		{"after again", after, after},
	} {
		version = s.put(step.by, step.name, version)
		s.wants(step.from, step.name, version)
	}
}

// A rotation to a key of the second format binds credentials to their version, those of a deleted integration too.
func TestRotationBindsVersions(t *testing.T) {
	s := newSealed(t)
	older, newer := s.store(firstKey), s.store(secondKey, firstKey)
	version := s.put(older, "two", s.put(older, "one", 0))
	s.exec(`insert into oauth_grants (integration_id, provider, state, credentials_version, refreshable, updated_at)
		select id, provider, 'connected', 1, true, now() from integrations`)
	if n, err := older.RevocationInsert(t.Context(), s.now, s.id); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	// A row of the release before.
	s.exec("update oauth_revocations set version = 0")
	wantsRevocation(s, newer, true)
	done, err := newer.Reseal(t.Context(), uuid.Nil, 10, postgres.Access{Who: "test", Why: "test", At: s.now})
	if err != nil || done.Sealed != 2 || len(done.Stuck) != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	alone := s.store(secondKey)
	s.wants(alone, "two", version)
	wantsRevocation(s, alone, true)
	s.exec("update oauth_revocations set version = version + 1")
	wantsRevocation(s, alone, false)
	s.exec("delete from oauth_revocations")
	if n, err := alone.RevocationInsert(t.Context(), s.now, s.id); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	wantsRevocation(s, alone, true)
	s.keep()
	version = s.put(alone, "three", version)
	s.putBack()
	s.wants(alone, "", version)
}

func wantsRevocation(s *sealed, by *postgres.Store, opens bool) {
	s.Helper()
	rows, err := by.RevocationTakeDue(s.Context(), dbsqlc.RevocationTakeDueParams{
		Until: s.now, Providers: []string{"shop"}, Now: s.now.Add(time.Hour), Most: 1,
	})
	if err != nil || len(rows) != 1 {
		s.Fatal(rows, err)
	}
	if plain, err := by.OpenRevocation(rows[0]); (err == nil) != opens || opens && string(plain) != `"two"` {
		s.Errorf("the credentials of a deleted integration: %q, %v", plain, err)
	}
}

// A token beside the database is of one version too.
func TestTokensAreOfOneVersion(t *testing.T) {
	s := newSealed(t)
	for _, store := range []*postgres.Store{s.store(firstKey), s.store(secondKey)} {
		keyID, sealed, err := store.SealToken(s.id, 7, []byte("token"))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := store.OpenToken(s.id, 7, keyID, sealed); err != nil || string(plain) != "token" {
			t.Errorf("opened %q, %v", plain, err)
		}
		if _, err := store.OpenToken(s.id, 8, keyID, sealed); (err == nil) != (keyID == "old") {
			t.Errorf("under another version, by %s: %v", keyID, err)
		}
	}
}

func TestCheckRing(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	if err := s.store(secondKey).CheckRing(t.Context()); err != nil {
		t.Errorf("without credentials: %v", err)
	}
	s.put(s.store(firstKey), `{"token":"t"}`, 0)
	for name, test := range map[string]struct {
		store *postgres.Store
		want  string
	}{
		"its ring":     {s.store(firstKey), ""},
		"a larger one": {s.store(secondKey, firstKey), ""},
		"another":      {s.store(secondKey), `lacks the key "old", which has sealed the credentials of integration ` + s.id.String()},
		"none":         {postgres.New(s.pool, nil), ""},
	} {
		err := test.store.CheckRing(t.Context())
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
