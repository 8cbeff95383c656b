package devstack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// errExited is the early end of a server that should be running.
var errExited = errors.New("the server ended")

// process is a child that dies with this program.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once the child has ended
	// waitErr is how it ended; to be read after exited is closed only.
	waitErr error
}

// startProcess starts cmd in a process group of its own, so that Ctrl-C in a
// terminal reaches this program alone, which then stops the child in order.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", cmd.Path, cmd.Dir, err)
	}
	return p, nil
}

// run holds one operating system thread for the life of the child, because
// Linux sends the parent-death signal when the thread that forked ends, not
// the program. It never unlocks the thread, which so ends with the goroutine.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.waitErr = p.cmd.Wait()
	close(p.exited)
}

// stop asks the child to end, kills it when it does not, and waits for it.
// A child that has ended already is no error.
func (p *process) stop(ask os.Signal) error {
	if err := p.cmd.Process.Signal(ask); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.cmd.Path, err)
	}
	patience := time.NewTimer(stopTimeout)
	defer patience.Stop()
	select {
	case <-p.exited:
		return nil
	case <-patience.C:
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.cmd.Path, err)
	}
	<-p.exited
	return nil
}

// tail returns the end of a server's log, for the error of a failed start.
func tail(path string) string {
	const most = 2000
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > most {
		if _, err := file.Seek(-most, io.SeekEnd); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return ""
	}
	return string(text)
}
