package acme_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestTutorial does what docs/tutorial.md says, step by step. The comment before a block says what the block is:
//
//	file: PATH  is written to the path
//	run         is run, and succeeds
//	await       is run until it succeeds
//	start       is left running
//	prints      are texts that the last run has printed; … stands for anything
//	later       are texts that the last command that was left running prints
func TestTutorial(t *testing.T) {
	t.Parallel()
	parent := folder(t)
	r := &reader{t: t, dir: filepath.Join(parent, "notes")}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(repository, filepath.Join(parent, "tributary")); err != nil {
		t.Fatal(err)
	}
	tutorial, err := os.ReadFile(filepath.Join(repository, "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	// Its port may be taken on this machine.
	text := strings.ReplaceAll(string(tutorial), "127.0.0.1:7070", freeAddress(t))
	blocks := regexp.MustCompile("(?ms)^<!-- (\\w+)(?:: (\\S+))? -->\n```\\w+\n(.*?)^```$").FindAllStringSubmatch(text,
		-1)
	if fences := strings.Count(text, "\n```\n"); len(blocks) != fences || fences == 0 {
		t.Fatalf("%d of %d blocks have a comment that says what they are", len(blocks), fences)
	}
	for _, block := range blocks {
		r.do(block[1], block[2], block[3])
	}
}

// reader follows the tutorial in a folder.
type reader struct {
	t       *testing.T
	dir     string
	printed string
	running *lockedBuffer
}

func (r *reader) do(what, path, text string) {
	r.t.Helper()
	switch what {
	case "file":
		path = filepath.Join(r.dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	case "run":
		if err := r.run(text); err != nil {
			r.t.Fatalf("%s: %v\n%s", text, err, r.printed)
		}
	case "await":
		r.await(text, func() bool { return r.run(text) == nil })
	case "start":
		r.start(text)
	case "prints":
		for line := range strings.Lines(text) {
			if !shows(r.printed, line) {
				r.t.Fatalf("%q is not in\n%s", line, r.printed)
			}
		}
	case "later":
		for line := range strings.Lines(text) {
			r.await(line, func() bool { return shows(r.running.String(), line) })
		}
	default:
		r.t.Fatalf("a block is %q", what)
	}
}

func (r *reader) command(script string) *exec.Cmd {
	// Not the test's context, which ends before its cleanup.
	command := exec.CommandContext(context.WithoutCancel(r.t.Context()), "bash", "-euc", script)
	command.Dir, command.Env = r.dir, append(ownEnvironment(), "CGO_ENABLED=0")
	return command
}

func (r *reader) run(script string) error {
	output, err := r.command(script).CombinedOutput()
	r.printed = string(output)
	return err
}

// start leaves a command running until the test ends.
func (r *reader) start(script string) {
	r.t.Helper()
	output := &lockedBuffer{}
	command := r.command(script)
	command.Stdout, command.Stderr = output, output
	// A group of its own: go run does not pass signals on to the program that it has built.
	command.WaitDelay = patience
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.running = output
	r.t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGTERM)
		_ = command.Wait()
		if r.t.Failed() {
			r.t.Logf("%s\n%s", script, output)
		}
	})
}

func (r *reader) await(what string, holds func() bool) {
	r.t.Helper()
	(&program{t: r.t}).await(what, holds)
}

// shows reports whether a text has a line with the words of another, … standing for anything.
func shows(text, line string) bool {
	var words []string
	for _, word := range strings.Fields(line) {
		if word == "…" {
			words = append(words, ".*")
		} else {
			words = append(words, regexp.QuoteMeta(word))
		}
	}
	return regexp.MustCompile(strings.Join(words, ` *`)).MatchString(text)
}

// freeAddress is an address that nothing listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
