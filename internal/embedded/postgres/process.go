package pgserver

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// prepare makes the command run as the place's account, apart from our process group: an interrupt typed at the terminal must reach
// the services first and the database last.
func prepare(command *exec.Cmd, at place) {
	command.Dir = "/"
	command.Env = cleanEnvironment(os.Environ())
	command.WaitDelay = 5 * time.Second
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if at.as != nil {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: at.as.uid, Gid: at.as.gid}
	}
}

// cleanEnvironment drops what would bend the server: the client's PG variables and the locale.
func cleanEnvironment(environment []string) []string {
	kept := []string{"LC_ALL=C", "TZ=UTC"}
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		if name != "TZ" && name != "LANG" && name != "LANGUAGE" && !strings.HasPrefix(name, "PG") && !strings.HasPrefix(name, "LC_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// explainExec adds the cause to errors that the operating system states too tersely.
func explainExec(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM) && os.Geteuid() == 0:
		return fmt.Errorf("%w: PostgreSQL refuses to run as root, and this root may not become another user; "+
			"run as an ordinary user, or set DATABASE_URL to a running server", err)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%w: the binary or its dynamic loader is missing (the fetched package needs glibc; on Alpine: apk add postgresql)", err)
	}
	return err
}

// lineLog passes on the lines a process prints and remembers the last few, which say why it ended.
type lineLog struct {
	log *slog.Logger

	mu      sync.Mutex
	partial string
	last    []string
}

func newLineLog(log *slog.Logger) *lineLog { return &lineLog{log: log} }

// Write takes whatever part of the output the process wrote at once.
func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial += string(p)
	for {
		line, rest, whole := strings.Cut(l.partial, "\n")
		if !whole {
			return len(p), nil
		}
		l.partial = rest
		l.log.Debug(line, "server", "postgres")
		if l.last = append(l.last, line); len(l.last) > 8 {
			l.last = l.last[1:]
		}
	}
}

func (l *lineLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(strings.Join(append(slices.Clip(l.last), l.partial), "\n"))
}
