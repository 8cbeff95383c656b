package main

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/term"
)

// command runs the command with the variables until it ends by itself. Signals
// are passed on to it, since whoever ends devstack means the command.
func (p program) command(args, variables []string) (int, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = slices.Concat(p.environ, variables)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.stdin, p.stdout, p.stderr
	if err := cmd.Start(); err != nil {
		return exitNotStarted, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return exitCode(err)
		case signal := <-p.signals:
			p.passOn(cmd.Process, signal)
		}
	}
}

// passOn leaves out the Ctrl-C of a terminal, which the terminal has sent to
// the command already: a second one makes many programs give up at once.
func (p program) passOn(process *os.Process, signal os.Signal) {
	if signal == os.Interrupt && term.IsTerminal(int(p.stdin.Fd())) {
		return
	}
	// A command that has ended in the meantime is about to be noticed.
	_ = process.Signal(signal)
}

// exitCode is the command's, in a shell's way of counting where a signal ended
// it.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return exitFailure, err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignal + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
