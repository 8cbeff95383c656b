package devstack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Program is a child process that dies with this program, however that dies.
type Program struct{ process *process }

// StartProgram starts cmd in a process group of its own. Its SysProcAttr is
// replaced.
func StartProgram(cmd *exec.Cmd) (*Program, error) {
	cmd.SysProcAttr = childAttributes(nil, syscall.SIGKILL)
	started, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	return &Program{started}, nil
}

// PID is the process id.
func (p *Program) PID() int { return p.process.cmd.Process.Pid }

// Ended is closed once the program has.
func (p *Program) Ended() <-chan struct{} { return p.process.exited }

// Err is how the program ended; to be asked after Ended only.
func (p *Program) Err() error { return p.process.waitErr }

// Signal sends the program a signal.
func (p *Program) Signal(s os.Signal) error { return p.process.cmd.Process.Signal(s) }

// Kill ends the program with SIGKILL and waits for it.
func (p *Program) Kill() error {
	if err := p.process.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.process.cmd.Path, err)
	}
	<-p.process.exited
	return nil
}

// Terminate asks the program to end with SIGTERM and waits so long for it. Its
// error says how the program ended where that was not well and in time; one
// that did not is killed.
func (p *Program) Terminate(within time.Duration) error {
	if err := p.process.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.process.cmd.Path, err)
	}
	patience := time.NewTimer(within)
	defer patience.Stop()
	select {
	case <-p.process.exited:
		return p.process.waitErr
	case <-patience.C:
		return errors.Join(fmt.Errorf("%s did not stop within %s", p.process.cmd.Path, within), p.Kill())
	}
}
