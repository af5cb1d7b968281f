package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/embedded/dirlock"
)

// TestDevInAFolderInUse has another instance hold the folder of NATS.
func TestDevInAFolderInUse(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	lock, err := dirlock.Acquire(filepath.Join(folder, "nats", "owner.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	var out, errs bytes.Buffer
	args := []string{"dev", "--data-dir=" + folder, "--database-url=postgres://127.0.0.1:1/x"}
	code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Providers{})
	if code == 0 || !strings.Contains(errs.String(), "stop it, or choose another folder with --data-dir") {
		t.Errorf("it ends with %d and says %q", code, errs.String())
	}
}

// TestDevIsStoppedWhileItStarts: a stop that was asked for is no failure.
func TestDevIsStoppedWhileItStarts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	args := []string{"dev", "--data-dir=" + t.TempDir(), "--no-demo"}
	code := Run(ctx, args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Providers{})
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); code != 0 || strings.Contains(errs.String(), "tributary:") || lines[len(lines)-1] != "stopped; start again to go on from here" {
		t.Errorf("it ends with %d and says %q and %q", code, out.String(), errs.String())
	}
}

// TestDevSaysWhatIsNext for who has providers of one's own.
func TestDevSaysWhatIsNext(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	p := &program{providers: Providers{"notes": nil, "acme": nil}}
	p.config.Webhooks.Prefix = "/in"
	d, err := devCommand{NoDemo: true}.startDemo(t.Context(), p, listener, nil)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	d.sayOwn(func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }, false)
	for _, want := range []string{
		"webhooks   http://" + listener.Addr().String() + "/in/<provider>/<integration>/webhook",
		"next       " + os.Args[0] + " integrations create acme|notes; --help says how to give metadata and credentials",
	} {
		if !slices.Contains(said, want) {
			t.Errorf("%q is not said, but %q", want, said)
		}
	}
}

// TestDoctorWritesNothing in a folder where nothing ran.
func TestDoctorWritesNothing(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	var out bytes.Buffer
	Run(t.Context(), []string{"doctor", "--data-dir=" + folder}, Streams{In: strings.NewReader(""), Out: &out, Err: io.Discard}, Providers{})
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data folder is there: %v", err)
	}
	for _, want := range []string{"none yet; the first start makes a ring", "which is not there yet"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}
