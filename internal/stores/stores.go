// Package stores opens and awaits the stores that the program needs.
package stores

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"revalidator/internal/clock"
)

// ReachTimeout is how long a store may take to answer for the first time.
const ReachTimeout = 5 * time.Second

// Reach asks a service for a sign of life. The clients have longer timeouts of
// their own, and try several times, so an attempt that is given up on may go on
// beside for some seconds.
func Reach(ctx context.Context, setting string, ping func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, ReachTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- ping(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		err = ErrNoAnswer
	}
	if nothingAnswered(err) {
		return fmt.Errorf("%w; is it running where %s says?", err, setting)
	}
	return err
}

// ErrNoAnswer is a server that was silent for ReachTimeout.
var ErrNoAnswer = fmt.Errorf("no response within %s", ReachTimeout)

// nothingAnswered is an error of a server that is not there, as opposed to one that
// says what is wrong.
func nothingAnswered(err error) bool {
	var op *net.OpError
	var name *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &name) || errors.Is(err, ErrNoAnswer)
}

// The waits between two looks for a store that is not there yet.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 5 * time.Second
)

// Store is something that a service cannot do without.
type Store struct {
	Name  string
	Ready func(ctx context.Context) error
}

// Waiter waits for stores, one after the other.
type Waiter struct {
	For time.Duration
	// Final are errors that waiting does not fix.
	Final []error
	Log   *slog.Logger
}

// Await waits until all stores are ready.
func (w Waiter) Await(ctx context.Context, stores ...Store) error {
	until := time.Now().Add(w.For)
	for _, store := range stores {
		if err := w.await(ctx, store, until); err != nil {
			return err
		}
	}
	return nil
}

func (w Waiter) isFinal(err error) bool {
	return slices.ContainsFunc(w.Final, func(final error) bool { return errors.Is(err, final) })
}

// await looks for one store, and says once what it waits for and for what
// reason, and when it is there.
func (w Waiter) await(ctx context.Context, store Store, until time.Time) error {
	said := ""
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		err := store.Ready(ctx)
		switch {
		case err == nil && said != "":
			w.Log.Info("wait is over", "for", store.Name)
			fallthrough
		case err == nil:
			return nil
		case ctx.Err() != nil, w.isFinal(err), !time.Now().Before(until):
			return err
		case err.Error() != said:
			said = err.Error()
			w.Log.Warn("waiting", "for", store.Name, "until", until.UTC().Truncate(time.Second), "error", err)
		}
		if err := clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}
