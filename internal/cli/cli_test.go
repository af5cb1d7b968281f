package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/leak"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { leak.Main(m) }

// stub answers the API's subjects with prepared replies, over a real broker, and remembers what it was asked.
type stub struct {
	nc    *nats.Conn
	t     *testing.T
	asked chan string
}

func newStub(t *testing.T) *stub {
	t.Helper()
	return &stub{nc: natstest.New(t).Connect(), t: t, asked: make(chan string, 100)}
}

// on has an endpoint answer with replies, one after the other, the last one for good. A reply is a value for JSON or an *api.Error.
func (s *stub) on(endpoint api.Endpoint, provider string, replies ...any) {
	s.t.Helper()
	_, err := s.nc.Subscribe(endpoint.Subject(provider), func(msg *nats.Msg) {
		s.asked <- string(msg.Data)
		reply := nats.NewMsg(msg.Reply)
		var refused *api.Error
		if err, ok := replies[0].(error); ok && errors.As(err, &refused) {
			reply.Header.Set(micro.ErrorCodeHeader, string(refused.Code))
			reply.Header.Set(micro.ErrorHeader, "in short")
		}
		var body bytes.Buffer
		encoder := json.NewEncoder(&body)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(replies[0]); err != nil {
			s.t.Error(err)
		}
		reply.Data = body.Bytes()
		if len(replies) > 1 {
			replies = replies[1:]
		}
		_ = msg.RespondMsg(reply)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// nextAsked is the body of the oldest request that was not looked at.
func (s *stub) nextAsked() string {
	s.t.Helper()
	select {
	case body := <-s.asked:
		return body
	default:
		s.t.Fatal("nothing was asked")
		return ""
	}
}

type result struct {
	code     int
	out, err string
}

var now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// run is the command line as pkg/app runs it.
func (s *stub) run(change func(*cli.Env), args ...string) result {
	s.t.Helper()
	var root struct {
		cli.Commands `embed:""`
	}
	var out, errs bytes.Buffer
	parser, err := kong.New(&root, kong.Name("tributary"), kong.Writers(&out, &errs), kong.Exit(func(int) {}))
	if err != nil {
		s.t.Fatal(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return result{cli.ExitUsage, out.String(), cli.Explain(err).Error()}
	}
	env := &cli.Env{
		Context: s.t.Context(), In: strings.NewReader(""), Out: &out, Err: &errs, Poll: time.Millisecond,
		Client: func() (*api.Client, error) { return api.New(s.nc, 10*time.Second), nil },
		Now:    func() time.Time { return now },
	}
	if change != nil {
		change(env)
	}
	if err := parsed.Run(env); err != nil {
		errs.WriteString(err.Error())
		return result{cli.ExitCode(err), out.String(), errs.String()}
	}
	return result{cli.ExitOK, out.String(), errs.String()}
}

func golden(t *testing.T, got string) {
	t.Helper()
	path := filepath.Join("testdata", strings.ReplaceAll(t.Name(), "/", "_")+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("output (-want +got), go test -update accepts it:\n%s", diff)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[api.Code]int{
		api.Invalid: cli.ExitUsage, api.Conflict: cli.ExitFailed, api.Refused: cli.ExitFailed, api.Internal: cli.ExitFailed,
		api.NotFound: cli.ExitNotFound, api.Unavailable: cli.ExitUnavailable,
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			s := newStub(t)
			s.on(api.IntegrationsShow, "", &api.Error{Code: code, Message: "so it is", Problems: []api.Problem{{Field: "credentials.token", Message: "is required"}}})
			got := s.run(nil, "integrations", "show", "docs")
			if got.code != want || got.err != "so it is\n  credentials.token is required" || got.out != "" {
				t.Errorf("got %+v, want the exit code %d", got, want)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		got := newStub(t).run(nil, "sync", "docs")
		if got.code != cli.ExitUnavailable || !strings.Contains(got.err, "no scheduler answers on ") {
			t.Errorf("got %+v, want the exit code %d", got, cli.ExitUnavailable)
		}
	})
	t.Run("unknown provider", func(t *testing.T) {
		t.Parallel()
		s := newStub(t)
		s.on(api.ProvidersList, "", api.ProviderList{Providers: []api.Provider{{Key: "github"}}})
		got := s.run(nil, "integrations", "create", "gitbuh")
		if got.code != cli.ExitNotFound || !strings.Contains(got.err, `"gitbuh"`) || !strings.Contains(got.err, "answer are: github") {
			t.Errorf("got %+v, want the exit code %d", got, cli.ExitNotFound)
		}
	})
}
