package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"revalidator/internal/claim"
)

// errPanicked is a receipt over which the program stumbled: a fault of ours that
// is of this receipt alone.
var errPanicked = errors.New("the program panicked on the receipt")

// checkSafely is check, which also survives a fault of the program: the receipt
// is asked about again, and quarantined when that does not help, while the
// others go on.
func (w *Worker) checkSafely(ctx context.Context, r claim.Receipt, room *room) (o claim.Outcome, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			w.logPanic(r.ID, panicText(cause), string(debug.Stack()))
			o, err = w.conclude(ctx, r, Answer{}, errPanicked)
		}
	}()
	return w.check(ctx, r, room)
}

// saveSafely saves an outcome, and where that can never succeed, that it did not.
// The answer is there: it is kept even if the task's time is up.
func (w *Worker) saveSafely(ctx context.Context, r claim.Receipt, o claim.Outcome) (claim.Outcome, bool, error) {
	ctx = context.WithoutCancel(ctx)
	o, held, err := w.save(ctx, o)
	if err == nil {
		return o, held, nil
	}
	if o, err = w.insteadOf(ctx, r, o, err); err != nil {
		return o, false, err
	}
	return w.save(ctx, o)
}

// save stores an outcome, and returns it with what storing it found out.
func (w *Worker) save(ctx context.Context, o claim.Outcome) (claim.Outcome, bool, error) {
	saved, err := w.batch.share(ctx, o)
	if err == nil && saved.Held {
		o.NextCheck, o.Failure = saved.NextCheck, saved.Failure
		if !saved.Quarantined {
			o.Verdict = nil
		}
	}
	return o, saved.Held, err
}

// logPanic tells of a panic with its stack, which holds addresses and no data.
func (w *Worker) logPanic(receiptID int64, cause, stack string) {
	w.cfg.Logger.Error("panic: the program panicked on a receipt, please report it",
		"receipt_id", receiptID, "cause", cause, "stack", stack)
}

// panicText is the type of what a panic was called with, and its text only where
// the Go runtime wrote it: any other may quote a receipt.
func panicText(cause any) string {
	if fault, ok := cause.(runtime.Error); ok {
		return fault.Error()
	}
	return fmt.Sprintf("%T", cause)
}
