package octokit

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// unpack fetches a package with npm, as its own configuration says, and visits its files.
func unpack(ctx context.Context, name string, visit func(file string, content []byte) error) (err error) {
	dir, err := os.MkdirTemp("", "octokit-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	pack := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", dir, name)
	pack.Dir = dir
	var complaint strings.Builder
	pack.Stderr = &complaint
	if err := pack.Run(); err != nil {
		return fmt.Errorf("npm pack: %w: %.500s", err, complaint.String())
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("npm pack left %d archives, not one", len(archives))
	}
	file, err := os.Open(archives[0])
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	return eachFile(tar.NewReader(unzipped), visit)
}

func eachFile(archive *tar.Reader, visit func(file string, content []byte) error) error {
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		if err := visit(header.Name, content); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}
