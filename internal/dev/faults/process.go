package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"revalidator/internal/dev/devstack"
)

// process is a running part of the program.
type process struct {
	*devstack.Program
	name string
	log  string
	// pages is the address of its health pages, where it was given one.
	pages string
}

// start starts a part of the program: a command without arguments, or with some.
func (w *World) start(env []string, kind string, args ...string) (*process, error) {
	p := &process{name: fmt.Sprintf("%s %d", kind, len(w.everything)+1)}
	p.log = filepath.Join(w.folder, fmt.Sprintf("%02d-%s.log", len(w.everything)+1, kind))
	file, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // the process has it
	binary := w.suite.binary
	if kind == "worker" {
		binary = cmp.Or(w.workerBinary, binary)
	}
	c := exec.Command(binary, append([]string{kind}, args...)...)
	c.Env, c.Stdout, c.Stderr = env, file, file
	if p.Program, err = devstack.StartProgram(c); err != nil {
		return nil, err
	}
	w.everything = append(w.everything, p)
	return p, nil
}

// StartWorker starts one more worker.
func (w *World) StartWorker() error {
	p, err := w.start(w.workerEnv, "worker")
	if err == nil {
		w.workers = append(w.workers, p)
	}
	return err
}

// StartScheduler starts one more scheduler.
func (w *World) StartScheduler() error {
	p, err := w.start(w.feederEnv, "scheduler")
	if err == nil {
		w.schedulers = append(w.schedulers, p)
	}
	return err
}

// KillWorker ends the oldest worker with SIGKILL.
func (w *World) KillWorker(ctx context.Context) error {
	p := w.workers[0]
	w.workers = w.workers[1:]
	if err := p.Kill(); err != nil {
		return err
	}
	w.harm = time.Now()
	return w.lose(ctx)
}

// KillScheduler ends the oldest scheduler with SIGKILL.
func (w *World) KillScheduler() error {
	p := w.schedulers[0]
	w.schedulers = w.schedulers[1:]
	w.harm = time.Now()
	return p.Kill()
}

// StopWorker asks the oldest worker to stop, and is an error unless it does so
// well and in time.
func (w *World) StopWorker() error {
	p := w.workers[0]
	w.workers = w.workers[1:]
	return p.stop()
}

// StopScheduler is StopWorker for the oldest scheduler.
func (w *World) StopScheduler() error {
	p := w.schedulers[0]
	w.schedulers = w.schedulers[1:]
	return p.stop()
}

// stopGrace is what a process may take beyond its own deadline for stopping, on
// a machine that does more than this.
const stopGrace = 10 * time.Second

// stop waits for the first word of a process: before it, it may not listen to
// signals yet.
func (p *process) stop() error {
	if err := p.says(context.Background(), "\n"); err != nil {
		return err
	}
	if err := p.Terminate(stopDeadline + stopGrace); err != nil {
		return &brokenPromise{fmt.Sprintf("%s was asked to stop: %v", p.name, err)}
	}
	return nil
}

// brokenPromise is a complaint that a scenario finds by itself.
type brokenPromise struct{ complaint string }

func (e *brokenPromise) Error() string { return e.complaint }

// stopAll asks everything to stop, and tells what did not do so well.
func (w *World) stopAll() (complaints []string) {
	for _, p := range slices.Concat(w.schedulers, w.workers) {
		select {
		case <-p.Ended():
			complaints = append(complaints, fmt.Sprintf("%s ended by itself: %v", p.name, p.Err()))
			continue
		default:
		}
		var broken *brokenPromise
		if err := p.stop(); errors.As(err, &broken) {
			complaints = append(complaints, broken.complaint)
		}
	}
	return complaints
}
