package pgserver

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startWatched starts the command so that it is told to stop when this process dies, however it dies, and calls ended when it has
// ended. The kernel ties the signal to the thread that forked, hence a goroutine that keeps its thread until then.
func startWatched(command *exec.Cmd, ended func(error)) error {
	command.SysProcAttr.Pdeathsig = syscall.SIGINT
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			ended(command.Wait())
		}
	}()
	return <-started
}
