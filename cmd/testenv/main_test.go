package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// This binary plays testenv and the command that testenv runs too: TESTENV_PLAY says which.
func TestMain(m *testing.M) {
	switch play := os.Getenv("TESTENV_PLAY"); play {
	case "":
		os.Exit(m.Run())
	case "testenv":
		_ = os.Setenv("TESTENV_PLAY", os.Args[2])
		main()
	case "query":
		conn, err := pgx.Connect(context.Background(), os.Getenv("DATABASE_URL"))
		if err != nil {
			panic(err)
		}
		var directory string
		if err := conn.QueryRow(context.Background(), "show data_directory").Scan(&directory); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stdout, directory)
	case "wait":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Fprintln(os.Stdout, "waiting")
		<-signals
		os.Exit(9)
	case "print":
		fmt.Fprintln(os.Stdout, os.Getenv("DATABASE_URL"))
		os.Exit(7)
	}
}

// testenv is a run of testenv with this binary as its command, in the given part.
func testenv(t *testing.T, databaseURL, part string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], os.Args[0], part)
	command.Env = append(os.Environ(), "TESTENV_PLAY=testenv", "DATABASE_URL="+databaseURL)
	return command
}

func TestStartsPostgresAndStopsIt(t *testing.T) {
	t.Parallel()
	command := testenv(t, "", "query")
	var messages strings.Builder
	command.Stderr = &messages
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, messages.String())
	}
	directory := strings.TrimSpace(string(output))
	if _, err := os.Stat(directory); directory == "" || !os.IsNotExist(err) {
		t.Errorf("the server's data folder %q is still there: %v", directory, err)
	}
	if !strings.Contains(messages.String(), "started PostgreSQL") {
		t.Errorf("does not say which server: %s", messages.String())
	}
}

func TestUsesTheGivenPostgresAndPassesTheExitCodeOn(t *testing.T) {
	t.Parallel()
	const given = "postgres://me:secret@db.example/x"
	command := testenv(t, given, "print")
	var messages strings.Builder
	command.Stderr = &messages
	output, _ := command.Output()
	if code := command.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	if got := strings.TrimSpace(string(output)); got != given {
		t.Errorf("DATABASE_URL is %q", got)
	}
	if said := messages.String(); !strings.Contains(said, "db.example/x") || strings.Contains(said, "secret") {
		t.Errorf("says %q", said)
	}
}

func TestPassesSignalsOn(t *testing.T) {
	t.Parallel()
	command := testenv(t, "postgres://unused", "wait")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	if code := command.ProcessState.ExitCode(); code != 9 {
		t.Errorf("exit code %d, want the command's 9", code)
	}
}
