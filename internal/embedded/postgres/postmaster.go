package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pidFile is what a server writes into its data folder about itself.
type pidFile struct {
	pid   int
	data  string
	ready bool
}

func readPidFile(data string) (pidFile, error) {
	content, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return pidFile{}, err
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) < 2 {
		return pidFile{}, errors.New("postmaster.pid is cut short")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil {
		return pidFile{}, fmt.Errorf("postmaster.pid: %w", err)
	}
	return pidFile{pid: pid, data: lines[1], ready: len(lines) >= 8 && strings.TrimSpace(lines[7]) == "ready"}, nil
}

// stopLeftover ends a server that outlived the process that started it. The caller holds the folder's lock, so nobody else's it is.
func stopLeftover(data string, log *slog.Logger) error {
	file, err := readPidFile(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && file.data == data && servesData(file.pid, data) {
		log.Info("stopping the PostgreSQL that an earlier run left behind", "pid", file.pid)
		if err := endProcess(file.pid, data); err != nil {
			return err
		}
	}
	// The number may belong to another process by now, and the server would take that for another server.
	if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the pid file of a dead server: %w", err)
	}
	return nil
}

// servesData tells whether the process is a server of ours on this folder, by its command line.
func servesData(pid int, data string) bool {
	var arguments []string
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		arguments = strings.Split(string(line), "\x00")
	} else if line, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output(); err == nil { //nolint:noctx // answers at once
		return strings.Contains(string(line), " -D "+data+" ")
	}
	at := slices.Index(arguments, "-D")
	return at >= 0 && at+1 < len(arguments) && arguments[at+1] == data
}

// endProcess asks ever harder. It looks at the command line rather than for the process: where nobody reaps orphans, the dead stay listed.
func endProcess(pid int, data string) error {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the leftover server %d: %w", pid, err)
		}
		for range 1000 {
			if !servesData(pid, data) {
				return nil
			}
			<-time.After(10 * time.Millisecond) // it is not our child, so there is nothing to wait on
		}
	}
	return fmt.Errorf("the leftover server %d does not stop", pid)
}
