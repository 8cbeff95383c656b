package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The roles in which this program is started next to itself.
const (
	roleAppStore = "appstore"
	roleBaseline = "baseline"
	roleNoop     = "noop"
)

// stopTime is how long a process may take to stop before it is killed.
const stopTime = 2 * time.Minute

// program is the command of a process: the program itself, or this one in a
// role.
func (b *bench) program(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	path := filepath.Join(b.folder, name)
	if name != "revalidator" {
		path, args = os.Args[0], append([]string{name}, args...)
	}
	c := exec.CommandContext(ctx, path, args...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = stopTime
	c.Stderr = os.Stderr
	return c
}

// output runs a process to its end and returns what it prints.
func (b *bench) output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	out, _, err := b.outputAndCPU(ctx, env, name, args...)
	return out, err
}

// outputAndCPU returns the processor time of the process too.
func (b *bench) outputAndCPU(ctx context.Context, env []string, name string, args ...string) ([]byte, time.Duration, error) {
	c := b.program(ctx, env, name, args...)
	out, err := c.Output()
	if err != nil {
		return nil, 0, fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return out, c.ProcessState.UserTime() + c.ProcessState.SystemTime(), nil
}

// process is a process that runs next to the benchmark.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	out    *bufio.Reader
}

func (b *bench) start(ctx context.Context, env []string, name string, args ...string) (*process, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &process{cmd: b.program(ctx, env, name, args...), cancel: cancel}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.out = bufio.NewReader(out)
	return p, nil
}

// line is the next line that the process prints.
func (p *process) line() (string, error) {
	text, err := p.out.ReadString('\n')
	return strings.TrimSpace(text), err
}

// stop asks the process to end and waits until it has.
func (p *process) stop() {
	p.cancel()
	_ = p.cmd.Wait()
}

// usage is what a process has used since it started.
type usage struct {
	cpu  time.Duration
	peak int64 // bytes of memory, at the most
}

// ticks is how many of them Linux counts in a second of processor time, on
// every architecture that Go runs on.
const ticks = 100

// used asks Linux what the process has used. The peak of a child that Go
// reports at its end is pointless: it begins with that of its parent.
func (p *process) used() (usage, error) {
	stat, err := processStat(p.cmd.Process.Pid)
	if err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return usage{}, err
	}
	peak, err := field(status, "VmHWM:")
	return usage{cpu: stat.own, peak: peak << 10}, err
}

// field is a number of /proc/PID/status.
func field(status []byte, name string) (int64, error) {
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("no %s in the status of a process", name)
}
