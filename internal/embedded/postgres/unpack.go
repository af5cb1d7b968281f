package pgserver

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// unpack writes the binaries of an npm package into a new folder. Everything comes out readable for all: another account may run it.
func unpack(archive, into string) error {
	if err := openFolder(into); err != nil {
		return err
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer root.Close()
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for entries := tar.NewReader(zipped); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		name, inside := strings.CutPrefix(path.Clean(entry.Name), "package/")
		if entry.Typeflag != tar.TypeReg || !inside || !needed(name) {
			continue
		}
		if err := write(root, name, entries); err != nil {
			return err
		}
	}
	return link(root)
}

// needed leaves out what only compiling against PostgreSQL needs.
func needed(name string) bool {
	return strings.HasPrefix(name, "native/") && path.Ext(name) != ".a" &&
		!strings.HasPrefix(name, "native/include/") && !strings.Contains(name, "/pgxs/")
}

func write(root *os.Root, name string, content io.Reader) error {
	if err := makeFolders(root, path.Dir(name)); err != nil {
		return err
	}
	file, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if dir := path.Dir(name); path.Base(dir) == "bin" || strings.HasPrefix(dir, "native/lib") {
		mode = 0o755 // npm's archives do not keep it
	}
	return root.Chmod(name, mode)
}

func makeFolders(root *os.Root, name string) error {
	if _, err := root.Stat(name); err == nil {
		return nil
	}
	if err := makeFolders(root, path.Dir(name)); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}

// link makes the symbolic links that the package lists, since npm's archives cannot hold any: without them no library is found.
func link(root *os.Root) error {
	list, err := root.ReadFile("native/pg-symlinks.json")
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(list, &links); err != nil {
		return fmt.Errorf("read the list of links: %w", err)
	}
	for _, l := range links {
		source, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err != nil {
			return fmt.Errorf("link %s: %w", l.Target, err)
		}
		if !filepath.IsLocal(l.Source) {
			return fmt.Errorf("link %s: %s leads out of the package", l.Target, l.Source)
		}
		if err := makeFolders(root, path.Dir(l.Target)); err != nil {
			return fmt.Errorf("link %s: %w", l.Target, err)
		}
		if err := root.Symlink(source, l.Target); err != nil {
			return fmt.Errorf("link %s: %w", l.Target, err)
		}
	}
	return nil
}
