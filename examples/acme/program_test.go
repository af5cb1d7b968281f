package acme_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience ends a test that would hang; nothing is expected to take that long.
const patience = 5 * time.Minute

// program is acme's binary, with servers of its own under a folder of the test's.
type program struct {
	t    *testing.T
	path string
	dir  string
	env  []string
	// nats is where the program's own NATS listens, once it has said so.
	nats string
}

func build(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, path: filepath.Join(t.TempDir(), "acme"), dir: folder(t)}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", p.path, "./cmd/acme")
	// Also where this test is compiled in another way, as for the race detector.
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	p.env = ownEnvironment()
	return p
}

// ownEnvironment names no servers: those that this machine's tests may share are not for a program that migrates and
// keeps its data.
func ownEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "DATABASE_URL=") || strings.HasPrefix(v, "TRIBUTARY_")
	})
}

// folder is a folder that also the account can enter which PostgreSQL runs as when the test runs as root.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "acme")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (p *program) command(args ...string) *exec.Cmd {
	// Not the test's context, which ends before its cleanup.
	args = append(args, "--data-dir="+p.dir, "--http-addr=")
	if p.nats != "" {
		args = append(args, "--nats-url="+p.nats)
	}
	command := exec.CommandContext(context.WithoutCancel(p.t.Context()), p.path, args...)
	command.Env = p.env
	return command
}

// start runs everything in one process until the test ends, and returns once it answers.
func (p *program) start() *lockedBuffer {
	p.t.Helper()
	output := &lockedBuffer{}
	dev := p.command("dev", "--no-demo")
	dev.Stdout, dev.Stderr = output, output
	if err := dev.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- dev.Wait() }()
	p.t.Cleanup(func() {
		_ = dev.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			p.t.Errorf("dev ended with %v", err)
		}
		if p.t.Failed() {
			p.t.Log(output.String())
		}
	})
	said := regexp.MustCompile(`(?m)^nats +(\S+) \(embedded\)$`)
	p.await("NATS", func() bool { return said.MatchString(output.String()) })
	p.nats = said.FindStringSubmatch(output.String())[1]
	p.await("an answer", func() bool { return p.command("providers", "list").Run() == nil })
	return output
}

func (p *program) await(what string, holds func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited %s for %s", patience, what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// ask runs a command and decodes what it prints.
func (p *program) ask(into any, args ...string) {
	p.t.Helper()
	var stdout, stderr bytes.Buffer
	command := p.command(append(args, "--json")...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		p.t.Fatalf("acme %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		p.t.Fatalf("acme %s prints %q: %v", strings.Join(args, " "), &stdout, err)
	}
}

// lockedBuffer keeps what a process writes.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

type run struct {
	State                      string
	Items, Done, Dead, Skipped int
}

// TestProgram uses acme's binary as its users would: one sync, a change, another sync.
func TestProgram(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.put("bread", 300)
	s.put("milk", 120)
	s.put("sample", 0)
	p := build(t)
	output := p.start()
	var providers []struct{ Key string }
	p.ask(&providers, "providers", "list")
	if len(providers) != 1 || providers[0].Key != "acme" {
		t.Errorf("the program's providers are %v, want acme alone", providers)
	}
	var created struct{ Name string }
	keyFile := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ask(&created, "integrations", "create", "acme", "--name=shop", "--metadata=url="+s.URL, "--credential=key=@"+keyFile)
	var first []run
	p.await("the first sync", func() bool {
		p.ask(&first, "runs", "list", "--integration=shop")
		return len(first) == 1 && first[0].State == "succeeded"
	})
	if want := (run{State: "succeeded", Items: 3, Done: 2, Skipped: 1}); first[0] != want {
		t.Errorf("the first sync is %+v, want %+v", first[0], want)
	}
	s.put("milk", 130)
	var second run
	p.ask(&second, "sync", "shop", "--follow")
	if want := (run{State: "succeeded", Items: 1, Done: 1}); second != want {
		t.Errorf("the sync after a change is %+v, want %+v", second, want)
	}
	var cursor struct{ Cursor json.Number }
	p.ask(&cursor, "cursor", "show", "shop")
	if cursor.Cursor != "4" {
		t.Errorf("the cursor is %s, want 4", cursor.Cursor)
	}
	for _, booked := range []string{"order=bread cents=300", "order=milk cents=120", "order=milk cents=130"} {
		if !strings.Contains(output.String(), booked) {
			t.Errorf("the handler has not booked %s", booked)
		}
	}
}
