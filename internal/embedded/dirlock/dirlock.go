// Package dirlock keeps two processes out of one data folder. The embedded servers take a lock before they touch their files.
package dirlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrHeld is returned by [Acquire] when another process, or another part of this one, holds the lock.
var ErrHeld = errors.New("in use by another instance")

// Lock is a held lock. The kernel drops it when the process ends, however it ends.
type Lock struct{ file *os.File }

// Acquire locks the file at path, which it creates together with its folder. It does not wait: a lock held elsewhere is [ErrHeld].
func Acquire(path string) (*Lock, error) { return lock(path, syscall.LOCK_EX|syscall.LOCK_NB) }

// Wait is Acquire that waits for the holder to let go.
func Wait(path string) (*Lock, error) { return lock(path, syscall.LOCK_EX) }

func lock(path string, how int) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the lock: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return &Lock{file: file}, nil
	}
	_ = file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", filepath.Dir(path), ErrHeld)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// Release lets go. The file stays, since removing it would let a third process lock another file of the same name.
func (l *Lock) Release() error {
	// Closing would do, but for a child process that is being started: until it runs its program, it has a copy of the
	// file, and with it the lock.
	err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	return errors.Join(err, l.file.Close())
}
