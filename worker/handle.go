package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/hibiken/asynq"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/jobs"
)

// Handle is the story of one receipt. It ends well for everything that Apple
// may say; an error other than failedCheck means a fault of our own machinery, after
// which asynq runs the task again under the same claim.
func (w *Worker) Handle(ctx context.Context, task *asynq.Task) error {
	v, err := jobs.ParseVerify(task.Payload())
	if err != nil {
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	if mine, err := w.mine(ctx, v); !mine {
		return err
	}
	if err := w.untilWritable(ctx); err != nil {
		return w.fault(ctx, slog.LevelDebug, "wait until the database may be written", v, err)
	}
	started := w.cfg.Now()
	r, err := w.load(ctx, v.ReceiptID, v.Generation)
	if errors.Is(err, claim.ErrLost) {
		w.cfg.Logger.Debug("claim is gone, nothing to do", "receipt_id", v.ReceiptID)
		w.show(task, lostClaim)
		return nil
	}
	if err != nil {
		return w.fault(ctx, slog.LevelWarn, "load receipt", v, err)
	}
	room := w.memory.room(r)
	defer room.leave() // once the result is stored: it holds what the reply said
	o, err := w.checkSafely(ctx, r, room)
	if err != nil {
		return w.fault(ctx, slog.LevelError, "check receipt", v, err)
	}
	o, saved, err := w.saveSafely(ctx, r, o)
	if err != nil {
		return w.fault(ctx, slog.LevelWarn, "save outcome", v, err)
	}
	w.metrics.observe(o, w.cfg.Now().Sub(started), saved)
	w.cfg.Logger.Debug("receipt checked", "receipt_id", r.ID, "run_id", r.RunID, "class", o.Failure,
		"calls", o.Calls, "next_check", o.NextCheck.At, "rule", o.NextCheck.Rule, "saved", saved)
	w.show(task, describe(o, saved))
	if w.cfg.ShowResults && saved && inVain(o) {
		return failedCheck(describe(o, saved))
	}
	return nil
}

// untilWritable waits while the database may not be written: a task that waits takes
// the place of one that would ask Apple.
func (w *Worker) untilWritable(ctx context.Context) error {
	ctx, cancel := w.untilStopped(ctx)
	defer cancel()
	return w.writes.wait(ctx)
}

// mine reports whether a task is of this worker's installation. One of another that
// had this Redis before is dropped. Where the other has it now the task is run
// again, by a worker of its own: this worker is about to end.
func (w *Worker) mine(ctx context.Context, v jobs.Verify) (bool, error) {
	if w.cfg.Queue == nil {
		return true, nil
	}
	mine, err := w.cfg.Queue.Mine(ctx, v)
	switch {
	case err != nil:
		return false, w.fault(ctx, slog.LevelWarn, "could not read whose task it is", v, err)
	case !mine && w.foreign.isDue(w.cfg.Now()):
		w.cfg.Logger.Warn("task of another installation dropped", "receipt_id", v.ReceiptID, "installation", v.Installation)
	}
	return mine, nil
}

// fault logs a fault of our own machinery, which asynq does not, and returns it
// for asynq to try again. A task whose context was cancelled had its worker told
// to stop, or its lease lost; what fails by that needs no person.
func (w *Worker) fault(ctx context.Context, level slog.Level, act string, v jobs.Verify, err error) error {
	switch stopping := w.stopping.Err() != nil; {
	case stopping && (errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, errStopped)):
		level = slog.LevelDebug
	case errors.Is(err, database.ErrNotWritable):
		level = slog.LevelDebug // the gate has told it once
	case errors.Is(ctx.Err(), context.Canceled):
		level = slog.LevelWarn
	}
	w.cfg.Logger.Log(ctx, level, act, "receipt_id", v.ReceiptID, "bundle_id", v.BundleID, "error", err)
	return fmt.Errorf("%s %d: %w", act, v.ReceiptID, err)
}

// check asks about a receipt and says what becomes of it. Its error is a fault
// of our own machinery.
func (w *Worker) check(ctx context.Context, r claim.Receipt, room *room) (claim.Outcome, error) {
	if r.App.PausedAt != nil || r.RunCancelled {
		return w.notAsked(r), nil
	}
	if r.Rests {
		return w.rests(r), nil
	}
	source, known := w.sources[r.App.SourceOrDefault()]
	if !known {
		return claim.Outcome{}, fmt.Errorf("app %s has source %q, which this version does not know: upgrade the worker", r.App.BundleID, r.App.Source)
	}
	if err := w.enter(ctx, room); err != nil {
		return w.conclude(ctx, r, Answer{Environment: r.Environment}, err)
	}
	turns := w.turns(r, room)
	answer, err := source.Check(ctx, r, turns)
	room.learn(err)
	room.settle()
	if errors.Is(err, database.ErrNotWritable) {
		return claim.Outcome{}, err // there is nothing to conclude, nor could it be stored
	}
	return w.conclude(ctx, r, answer, turns.inTrouble(err))
}

// untilStopped is a context that ends when the worker is told to stop, too.
func (w *Worker) untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(w.stopping, cancel)
	return ctx, func() { release(); cancel() }
}
