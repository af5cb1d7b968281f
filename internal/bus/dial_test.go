package bus_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
)

func TestRedact(t *testing.T) {
	tests := []struct{ name, servers, want string }{
		{"plain", "nats://localhost:4222", "nats://localhost:4222"},
		{"no scheme", "localhost", "nats://localhost"},
		{"password", "nats://ann:hunter2@localhost:4222", "nats://ann:xxxxx@localhost:4222"},
		{"password without a scheme", "ann:hunter2@localhost", "nats://ann:xxxxx@localhost"},
		{"token", "nats://hunter2@localhost", "nats://xxxxx@localhost"},
		{"password with an at sign", "tls://ann:hunter2@hunter2@localhost", "tls://ann:xxxxx@localhost"},
		{"several", "nats://ann:hunter2@a:4222, nats://hunter2@b,c", "nats://ann:xxxxx@a:4222,nats://xxxxx@b,nats://c"},
		{"nothing", "", ""},
		{"a slash in the password", "nats://ann:hunter2/x@localhost", ""},
		{"a broken escape", "nats://ann:hunter2%zz@localhost", ""},
		{"a control character", "nats://ann:hunter2@local\x00host", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := bus.Redact(tt.servers)
			diff(t, tt.want, got)
			if refused := tt.want == "" && tt.servers != ""; (err != nil) != refused {
				t.Errorf("error is %v, want one: %t", err, refused)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestDialShowsNoPassword(t *testing.T) {
	server := natstest.NewListening(t)
	address := strings.TrimPrefix(server.URL(), "nats://")
	server.Stop()
	for _, servers := range []string{
		"nats://ann:hunter2@" + address,
		"nats://hunter2@" + address + ",ann:hunter2@" + address,
		"nats://ann:hunter2%zz@" + address,
	} {
		var logged bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		nc, err := bus.Dial(ctx, servers, slog.New(slog.NewTextHandler(endAfter{&logged, cancel}, nil)))
		if err == nil {
			nc.Close()
			t.Fatalf("%s answers", servers)
		}
		if text := err.Error() + logged.String(); strings.Contains(text, "hunter2") {
			t.Errorf("the password shows: %s", text)
		}
		cancel()
	}
}

// endAfter calls end once something is written.
type endAfter struct {
	io.Writer
	end func()
}

func (w endAfter) Write(p []byte) (int, error) {
	defer w.end()
	return w.Writer.Write(p)
}
