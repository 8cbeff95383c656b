package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopTime is how long a program may take to stop before it is killed.
const stopTime = 15 * time.Second

// build builds programs of this module into the demo's folder.
func (d *demo) build(ctx context.Context, names ...string) error {
	for _, name := range names {
		c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(d.folder, name), "revalidator/cmd/"+name)
		c.Stderr = d.stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
	}
	return nil
}

// command is a program of the demo, in a process group of its own, so that
// Ctrl-C reaches it through the demo and in order.
func (d *demo) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(d.folder, name), args...)
	c.Env = d.env
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = stopTime
	return c
}

// failedSome is the exit code of a command that was done though some receipts
// failed, which simulated faults may bring about.
const failedSome = 3

// show runs a command of revalidator as a person would, and shows it.
func (d *demo) show(ctx context.Context, args ...string) error {
	d.say("$ revalidator %s", strings.ReplaceAll(strings.Join(args, " "), d.folder+"/", ""))
	c := d.command(ctx, "revalidator", args...)
	c.Stdout, c.Stderr = d.stdout, d.stderr
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == failedSome {
		return nil
	}
	if err != nil {
		return fmt.Errorf("revalidator %s: %w", args[0], err)
	}
	return nil
}

// output runs a program and returns what it prints.
func (d *demo) output(ctx context.Context, name string, args ...string) (string, error) {
	c := d.command(ctx, name, args...)
	c.Stderr = d.stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// process is a program that runs next to the demo.
type process struct {
	log    string
	ended  chan struct{}
	cancel context.CancelFunc
}

// start runs a program next to the demo, with a log of its own.
func (d *demo) start(ctx context.Context, log, name string, args ...string) (*process, error) {
	file, err := os.Create(filepath.Join(d.folder, log))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := d.command(ctx, name, args...)
	c.Stdout, c.Stderr = file, file
	if err := c.Start(); err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), file.Close())
	}
	p := &process{log: file.Name(), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(p.ended)
		_ = c.Wait()
		_ = file.Close()
	}()
	return p, nil
}

// stop asks the program to end and waits until it has.
func (p *process) stop() {
	p.cancel()
	<-p.ended
}
