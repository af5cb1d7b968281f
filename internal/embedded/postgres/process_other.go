//go:build !linux

package pgserver

import (
	"os"
	"os/exec"
	"strconv"
)

// startWatched starts the command so that it is told to stop when this process dies, however it dies, and calls ended when it has
// ended. A shell waits on a pipe of ours: a line means all is well, its end without one that we are gone.
func startWatched(command *exec.Cmd, ended func(error)) error {
	if err := command.Start(); err != nil {
		return err
	}
	ours, theirs, err := watch(command)
	if err != nil {
		_ = command.Process.Kill()
		_ = command.Wait()
		return err
	}
	go func() {
		err := command.Wait()
		_, _ = ours.WriteString("\n")
		_ = ours.Close()
		_ = theirs.Wait()
		ended(err)
	}()
	return nil
}

func watch(command *exec.Cmd) (*os.File, *exec.Cmd, error) {
	shell := exec.Command("/bin/sh", "-c", `read line || kill -INT "$1"`, "sh", strconv.Itoa(command.Process.Pid)) //nolint:noctx // lives as long as the server
	attributes := *command.SysProcAttr
	shell.SysProcAttr = &attributes
	reading, writing, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer reading.Close() //nolint:errcheck // the shell has its own
	shell.Stdin = reading
	if err := shell.Start(); err != nil {
		_ = writing.Close()
		return nil, nil, err
	}
	return writing, shell, nil
}
