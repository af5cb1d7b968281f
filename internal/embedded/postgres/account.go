package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that PostgreSQL runs as when we are root, which it refuses to be. Nil means ourselves.
type account struct {
	name     string
	uid, gid uint32
}

// chooseAccount picks PG_RUN_AS, postgres or nobody for root, and nobody else for anybody else.
func chooseAccount(getenv func(string) string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if name := getenv("PG_RUN_AS"); name != "" {
		as, err := lookUp(name)
		if err != nil {
			return nil, fmt.Errorf("PG_RUN_AS: %w", err)
		}
		return as, nil
	}
	var failures []error
	for _, name := range []string{"postgres", "nobody"} {
		as, err := lookUp(name)
		if err == nil {
			return as, nil
		}
		failures = append(failures, err)
	}
	return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is no account to run it as; name one in PG_RUN_AS: %w", errors.Join(failures...))
}

func lookUp(name string) (*account, error) {
	found, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("uid of %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("gid of %s: %w", name, err)
	}
	if uid == 0 {
		return nil, fmt.Errorf("%s is root, which PostgreSQL refuses to run as", name)
	}
	return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
}

// canReach tells whether the account may enter the folder and all above it. Folders that do not exist yet are ours to make, and open.
func (a *account) canReach(dir string) bool {
	if a == nil {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err == nil && !a.mayEnter(info) || err != nil && !errors.Is(err, os.ErrNotExist) {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

func (a *account) mayEnter(info os.FileInfo) bool {
	stat, known := info.Sys().(*syscall.Stat_t)
	switch {
	case known && stat.Uid == a.uid:
		return info.Mode()&0o100 != 0
	case known && stat.Gid == a.gid:
		return info.Mode()&0o010 != 0
	}
	return info.Mode()&0o001 != 0
}

// own gives the path to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("give it to %s, which PostgreSQL runs as: %w", a.name, err)
	}
	return nil
}
