package pgserver

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tributaryhq/tributary/internal/embedded/dirlock"
)

// place is where a cluster lives: its folder, held by a lock, and the account that owns what is in it.
type place struct {
	dir       string
	as        *account
	lock      *dirlock.Lock
	temporary bool
}

func (p place) data() string     { return filepath.Join(p.dir, "data") }
func (p place) password() string { return filepath.Join(p.dir, "password") }

// release gives the folder up, and removes one that was for this run alone.
func (p place) release() {
	if p.temporary {
		_ = os.RemoveAll(p.dir)
	}
	_ = p.lock.Release()
}

func choosePlace(opts Options, as *account, major int) (place, error) {
	if opts.Dir == "" {
		return temporaryPlace(opts, as)
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return place{}, fmt.Errorf("find the data folder: %w", err)
	}
	if !as.canReach(dir) {
		sum := sha256.Sum256([]byte(dir))
		elsewhere := fmt.Sprintf("/var/lib/tributary/%s-%x", filepath.Base(dir), sum[:4])
		opts.Log.Info("PostgreSQL does not run as root and its account cannot enter the data folder: its data goes elsewhere",
			"account", as.name, "folder", dir, "data", elsewhere)
		dir = elsewhere
	}
	lock, err := dirlock.Acquire(filepath.Join(dir, "owner.lock"))
	if err != nil {
		return place{}, fmt.Errorf("start the embedded PostgreSQL: %w", err)
	}
	// A folder per major version: a machine that gets a newer one starts a new cluster instead of failing on the old.
	at := place{dir: filepath.Join(dir, "pg"+strconv.Itoa(major)), as: as, lock: lock}
	if err := openFolder(at.dir); err != nil {
		at.release()
		return place{}, err
	}
	return at, nil
}

// temporaryPlace makes a folder for one run, and removes those of runs that were killed. A lock over all of them keeps a new folder
// from being taken for an abandoned one before it is locked itself.
func temporaryPlace(opts Options, as *account) (place, error) {
	base := os.TempDir()
	if memory := roomyMemory(); memory != "" && !opts.Durable {
		base = memory
	}
	prefix := filepath.Join(base, fmt.Sprintf("tributary-pg-%d", os.Geteuid()))
	all, err := dirlock.Wait(prefix + ".lock")
	if err != nil {
		return place{}, fmt.Errorf("make a temporary data folder: %w", err)
	}
	defer all.Release() //nolint:errcheck // nothing was written
	sweep(prefix, opts)
	dir, err := os.MkdirTemp(base, filepath.Base(prefix)+"-")
	if err != nil {
		return place{}, fmt.Errorf("make a temporary data folder: %w", err)
	}
	lock, err := dirlock.Acquire(filepath.Join(dir, "owner.lock"))
	if err != nil {
		return place{}, fmt.Errorf("make a temporary data folder: %w", err)
	}
	at := place{dir: dir, as: as, lock: lock, temporary: true}
	if err := openFolder(dir); err != nil {
		at.release()
		return place{}, err
	}
	if !as.canReach(dir) {
		at.release()
		return place{}, fmt.Errorf("%s, which PostgreSQL runs as, cannot enter %s: set TMPDIR to a folder it can enter", as.name, base)
	}
	return at, nil
}

func sweep(prefix string, opts Options) {
	abandoned, _ := filepath.Glob(prefix + "-*") // fails on a bad pattern only
	for _, dir := range abandoned {
		lock, err := dirlock.Acquire(filepath.Join(dir, "owner.lock"))
		if errors.Is(err, dirlock.ErrHeld) {
			continue
		}
		if err == nil {
			err = stopLeftover(filepath.Join(dir, "data"), opts.Log)
		}
		if err == nil {
			err = os.RemoveAll(dir)
		}
		if lock != nil {
			_ = lock.Release()
		}
		if err != nil {
			opts.Log.Warn("cannot remove the data of an abandoned run", "folder", dir, "error", err)
		}
	}
}

// openFolder makes a folder that other accounts can enter, whatever the umask.
func openFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // what is secret inside is 0600 and 0700
		return fmt.Errorf("open the data folder: %w", err)
	}
	return nil
}
