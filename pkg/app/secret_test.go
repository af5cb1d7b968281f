package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/app"
)

const hidden = "hunter2"

func TestSecretNeverShows(t *testing.T) {
	t.Parallel()
	secret := app.Secret(hidden)
	config := app.Config{DatabaseURL: secret, Keys: secret}
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("starts", "secret", secret, "config", config)
	shown := string(encoded) + logged.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown += fmt.Sprintf(verb, secret) + fmt.Sprintf(verb, config)
	}
	shown += fmt.Sprint(fmt.Errorf("use %v", secret))
	for _, form := range []string{hidden, fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden)} {
		if strings.Contains(shown, form) {
			t.Errorf("%q shows in %s", form, shown)
		}
	}
}

// What is configured through the environment or flags stays out of the help and out of everything that a command says when it is wrong.
func TestCommandsShowNoSecret(t *testing.T) {
	closed := "127.0.0.1:1"
	environments := map[string]map[string]string{
		"sound": {
			"DATABASE_URL":   "postgres://ann:" + hidden + "@" + closed + "/x",
			"TRIBUTARY_KEYS": "a:" + hidden, "TRIBUTARY_NATS_URL": "nats://ann:" + hidden + "@" + closed,
		},
		"unreadable": {
			"DATABASE_URL":   "postgres://ann:" + hidden + "%zz@" + closed + "/x",
			"TRIBUTARY_KEYS": hidden, "TRIBUTARY_NATS_URL": "nats://" + hidden + "%zz@" + closed,
		},
		"a token": {"TRIBUTARY_NATS_URL": "nats://" + hidden + "@" + closed},
	}
	commands := []struct {
		name string
		args []string
		says string
	}{
		{"help", []string{"--help"}, "DATABASE_URL"},
		{"help of a service", []string{"scheduler", "--help"}, "DATABASE_URL"},
		{"unknown command", []string{"dance"}, "dance"},
		{"unknown flag", []string{"scheduler", "--dance"}, "dance"},
		{"wrong value", []string{"scheduler", "--connections=few"}, "few"},
		{"refused value", []string{"scheduler", "--connections=1"}, "it can be 5 to"},
		{"secrets as flags", []string{"scheduler", "--keys=" + hidden, "--database-url=" + hidden, "--nats-replicas=2"}, "nats-replicas"},
		{"keys as a flag", []string{"scheduler", "--keys=" + hidden}, "TRIBUTARY_KEYS"},
		{"password of Postgres", []string{"scheduler", "--database-url", "postgres://me:" + hidden + "@localhost/db"}, "DATABASE_URL"},
		{"password of Postgres as a parameter", []string{"scheduler", "--database-url=postgres://localhost/db?password=" + hidden}, "DATABASE_URL"},
		{"password of NATS", []string{"integrations", "list", "--nats-url=nats://a:4222,nats://me:" + hidden + "@b:4222"}, "TRIBUTARY_NATS_URL"},
		{"a credential", []string{"integrations", "create", "x", "--credential=api_key=" + hidden}, "api_key=@FILE"},
		{"service", []string{"scheduler"}, ""},
		{"doctor", []string{"doctor"}, "FAIL"},
		{"operator's command", []string{"integrations", "list"}, "NATS"},
	}
	for name, environment := range environments {
		t.Run(name, func(t *testing.T) {
			for variable, value := range environment {
				t.Setenv(variable, value)
			}
			t.Setenv("TRIBUTARY_DATA_DIR", t.TempDir())
			for _, command := range commands {
				if command.name == "service" && environment["TRIBUTARY_KEYS"] == "" {
					continue // it would wait for the servers
				}
				t.Run(command.name, func(t *testing.T) {
					var said bytes.Buffer
					app.Run(t.Context(), command.args, app.Streams{In: strings.NewReader(""), Out: &said, Err: &said}, app.Providers{})
					if !strings.Contains(said.String(), command.says) {
						t.Errorf("it does not say %q but: %s", command.says, &said)
					}
					if strings.Contains(said.String(), hidden) {
						t.Errorf("the secret shows: %s", &said)
					}
				})
			}
		})
	}
}
