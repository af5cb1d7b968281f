package secret

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// checkEvery is how often a ring's file is looked at for a change.
const checkEvery = time.Second

// file is where a ring comes from, to be read again when it has changed: a new key needs no restart.
type file struct {
	path string
	kms  KMS
	log  *slog.Logger

	mu      sync.Mutex
	checked time.Time
	seen    os.FileInfo
}

// Load reads a ring from a file, and again whenever the file has changed: a process that meets a key that was added meanwhile knows it. A change that can't be read is
// logged, and the ring stays as it was. kms may be nil.
func Load(ctx context.Context, path string, kms KMS, log *slog.Logger) (*Ring, error) {
	from := &file{path: path, kms: kms, log: log}
	k, err := from.read(ctx)
	if err != nil {
		return nil, err
	}
	return newRing(from, k), nil
}

func (f *file) read(ctx context.Context) (*keys, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, fmt.Errorf("read the key ring: %w", err)
	}
	f.seen = info
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read the key ring: %w", err)
	}
	return parse(ctx, string(text), f.kms)
}

// changed reads the file anew if it has changed, and returns nil if not.
func (f *file) changed() *keys {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) < checkEvery {
		return nil
	}
	f.checked = time.Now()
	info, err := os.Stat(f.path)
	if err == nil && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() && os.SameFile(info, f.seen) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	k, err := f.read(ctx)
	if err != nil {
		f.log.Error("the key ring has changed and can't be read; the keys stay as they were", "file", f.path, "error", err)
		return nil
	}
	f.log.Info("the key ring was read again", "file", f.path, "keys", k.ids, "seals", k.primary)
	return k
}

// LoadOrCreate is Load, and makes a ring with a single new key where there is no file. It is for one machine: a deployment passes its ring in.
func LoadOrCreate(path string, log *slog.Logger) (*Ring, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := create(path, log); err != nil {
			return nil, err
		}
	}
	return Load(context.Background(), path, nil, log)
}

func create(path string, log *slog.Logger) error {
	key, mark := make([]byte, KeyBytes), make([]byte, 4)
	_, _ = rand.Read(key)
	_, _ = rand.Read(mark)
	// Two folders have keys of two names, so that whoever has the wrong one is told which key is missing.
	id := "dev-" + hex.EncodeToString(mark) + ".v2"
	line := id + ":" + base64.StdEncoding.EncodeToString(key) + "\n"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of the key ring: %w", err)
	}
	// Linking a finished file into place means that of two processes that start at once both end up with the same key.
	temporary, err := os.CreateTemp(filepath.Dir(path), ".keys-*")
	if err != nil {
		return fmt.Errorf("write the key ring: %w", err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	if _, err := temporary.WriteString(line); err != nil {
		return fmt.Errorf("write the key ring: %w", err)
	}
	if err := errors.Join(temporary.Sync(), temporary.Close()); err != nil {
		return fmt.Errorf("write the key ring: %w", err)
	}
	err = os.Link(temporary.Name(), path)
	switch {
	case errors.Is(err, os.ErrExist):
		return nil
	case err != nil:
		return fmt.Errorf("write the key ring: %w", err)
	}
	log.Info("made a new key ring, as there was none", "file", path, "key", id)
	return nil
}
