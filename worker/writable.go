package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"revalidator/internal/database"
)

// How often the database is asked whether it may be written, and how often while it
// may not.
const (
	writableEvery = 10 * time.Second
	readOnlyEvery = time.Second
	// writableTimeout bounds one question.
	writableTimeout = 5 * time.Second
)

// writeGate is open while results can be stored. While a database answers that may not
// be written, every receipt could be loaded and Apple asked about it again and again,
// for nothing: so no task goes on, and none ends.
type writeGate struct {
	ask func(context.Context) error
	log *slog.Logger

	mu sync.Mutex
	// refusal is why the gate is closed, nil while it is open.
	refusal error
	opened  chan struct{} // closed while the gate is open
	closed  chan struct{} // has one while the gate was closed by a failed save
}

func newWriteGate(store Store, log *slog.Logger) *writeGate {
	g := &writeGate{ask: store.Writable, log: log, opened: make(chan struct{}), closed: make(chan struct{}, 1)}
	close(g.opened)
	return g
}

// watch asks the database until ctx ends. beat is told of each round.
func (g *writeGate) watch(ctx context.Context, beat func()) {
	for ctx.Err() == nil {
		beat()
		every := writableEvery
		if g.why() != nil {
			every = readOnlyEvery
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
		case <-g.closed: // not at once: what a save met, the question may not show
		case <-timer.C:
			g.look(ctx)
		}
		timer.Stop()
	}
}

// look asks once. A database that does not answer says nothing about this.
func (g *writeGate) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writableTimeout)
	defer cancel()
	switch err := g.ask(ctx); {
	case err == nil:
		g.open()
	case errors.Is(err, database.ErrNotWritable):
		g.close(err)
	}
}

// heard closes the gate at once where a result could not be stored for that reason.
func (g *writeGate) heard(err error) {
	if !errors.Is(err, database.ErrNotWritable) || !g.close(err) {
		return
	}
	select {
	case g.closed <- struct{}{}:
	default:
	}
}

func (g *writeGate) close(err error) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if changed = g.refusal == nil; changed {
		g.opened = make(chan struct{})
		g.log.Error("database may not be written: no receipt is checked until it may, and nothing is lost", "error", err)
	}
	g.refusal = err
	return changed
}

func (g *writeGate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusal != nil {
		close(g.opened)
		g.log.Info("database may be written again: checks are resumed")
	}
	g.refusal = nil
}

// why is the reason for which the gate is closed, nil while it is open.
func (g *writeGate) why() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal
}

// wait returns once the gate is open, or fails with the reason when ctx ends first.
func (g *writeGate) wait(ctx context.Context) error {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	select {
	case <-opened: // also where ctx has ended: what fails by that says so itself
		return nil
	default:
	}
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
	}
	if err := g.why(); err != nil {
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return ctx.Err()
}
