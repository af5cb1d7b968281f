package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ensureCluster makes the cluster and the database in it unless they are there, and returns the superuser's password. All is built
// aside and renamed into place, so a first start that was cut short leaves nothing half done.
func ensureCluster(ctx context.Context, installation Installation, at place, opts Options) (password string, err error) {
	_, err = os.Stat(filepath.Join(at.data(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		opts.Log.Debug("creating a database cluster", "version", installation.Version, "data", at.data())
		return createCluster(ctx, installation, at, opts)
	}
	if err != nil {
		return "", fmt.Errorf("look at the cluster: %w", err)
	}
	content, err := os.ReadFile(at.password())
	if err != nil {
		return "", fmt.Errorf("read the cluster's password: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

func createCluster(ctx context.Context, installation Installation, at place, opts Options) (string, error) {
	password := rand.Text()
	if err := writeFor(at.as, at.password(), password+"\n"); err != nil {
		return "", fmt.Errorf("write the cluster's password: %w", err)
	}
	unfinished := at.data() + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", fmt.Errorf("remove an unfinished cluster: %w", err)
	}
	if err := os.Mkdir(unfinished, 0o700); err != nil {
		return "", fmt.Errorf("make the cluster's folder: %w", err)
	}
	if err := at.as.own(unfinished); err != nil {
		return "", fmt.Errorf("make the cluster's folder: %w", err)
	}
	initdb := []string{"-D", unfinished, "-U", superuser, "-A", "scram-sha-256", "--pwfile", at.password(), "-E", "UTF8", "--no-locale", "--no-instructions"}
	single := []string{"--single", "-D", unfinished}
	if !opts.Durable {
		initdb, single = append(initdb, "--no-sync"), append(single, "-F")
	}
	if err := run(ctx, installation, at, "", "initdb", initdb...); err != nil {
		return "", err
	}
	// In single-user mode, so that the database exists before the server ever listens.
	if err := run(ctx, installation, at, "create database "+database+"\n", "postgres", append(single, "postgres")...); err != nil {
		return "", err
	}
	if err := os.Rename(unfinished, at.data()); err != nil {
		return "", fmt.Errorf("put the cluster in place: %w", err)
	}
	return password, nil
}

func run(ctx context.Context, installation Installation, at place, input, name string, args ...string) error {
	command := exec.CommandContext(ctx, filepath.Join(installation.BinDir, name), args...)
	prepare(command, at)
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	if err == nil && strings.Contains(string(output), "ERROR:") {
		err = errors.New("failed") // single-user mode exits with success even after an error
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, explainExec(err), strings.TrimSpace(string(output)))
	}
	return nil
}

// writeFor writes a file that only we and the account can read.
func writeFor(as *account, path, content string) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return as.own(path)
}
