package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/hibiken/asynq"

	"revalidator/internal/appstore"
	"revalidator/internal/iap"
	"revalidator/internal/ledger"
	"revalidator/jobs"
)

// Handle is the story of one receipt. It ends well for everything that Apple
// may say; an error means a fault of our own machinery, after which asynq runs
// the task again under the same claim.
func (w *Worker) Handle(ctx context.Context, task *asynq.Task) error {
	v, err := jobs.ParseVerify(task.Payload())
	if err != nil {
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	if mine, err := w.mine(ctx, v); !mine {
		return err
	}
	started := w.cfg.Now()
	r, err := w.load(ctx, v.ReceiptID, v.Generation)
	if errors.Is(err, ledger.ErrLostClaim) {
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
	return nil
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
		return false, w.fault(ctx, slog.LevelWarn, "tell whose task it is", v, err)
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
	case errors.Is(ctx.Err(), context.Canceled):
		level = slog.LevelWarn
	}
	w.cfg.Logger.Log(ctx, level, act, "receipt_id", v.ReceiptID, "bundle_id", v.BundleID, "error", err)
	return fmt.Errorf("%s %d: %w", act, v.ReceiptID, err)
}

// check asks about a receipt and says what becomes of it. Its error is a fault
// of our own machinery.
func (w *Worker) check(ctx context.Context, r ledger.Receipt, room *room) (ledger.Outcome, error) {
	if r.App.PausedAt != nil || r.RunCancelled {
		return w.notAsked(r), nil
	}
	if r.Rests {
		return w.rests(r), nil
	}
	if err := w.enter(ctx, room); err != nil {
		return w.conclude(ctx, r, appstore.Answer{Environment: r.Environment}, err)
	}
	answer, err := w.ask(ctx, r, room)
	room.settle()
	return w.conclude(ctx, r, answer, err)
}

// ask asks Apple with one secret of the ring after the other, until one is not
// refused, each at most once.
func (w *Worker) ask(ctx context.Context, r ledger.Receipt, room *room) (appstore.Answer, error) {
	var answer appstore.Answer
	turns := w.turns(r)
	request := w.request(r, turns)
	request.Grow = room.grow
	trial := w.ring.trial(r.App.BundleID)
	defer trial.end()
	calls := 0
	var endpoint, probed iap.Environment // of the last call
	for {
		s, err := w.nextSecret(ctx, trial)
		if err != nil {
			answer.Calls = calls
			return answer, err
		}
		request.Password = s.value
		request.Wait = func(ctx context.Context, e iap.Environment) error {
			endpoint = e
			probe, err := w.clocks.admit(ctx, e)
			if err != nil {
				return err
			}
			if probe {
				probed = e
			}
			if err := turns.wait(ctx, e); err != nil {
				return err
			}
			err = trial.admit(s.id)
			if err != nil {
				turns.heard(ctx, e, err) // nothing is asked
			}
			return err
		}
		answer, err = w.cfg.AppStore.VerifyReceipt(ctx, request)
		room.learn(err)
		calls += answer.Calls
		answer.Calls = calls
		request.Environment = answer.Environment
		if at := answer.Facts.AsOf; !at.IsZero() {
			// Before anything is learned of the reply.
			if wrong := w.clocks.check(ctx, endpoint, at, probed == endpoint); wrong != nil {
				return answer, wrong
			}
		}
		if !errors.Is(err, errSecretChanged) && !trial.learn(ctx, s.id, saidOfSecret(answer, err)) {
			return answer, turns.inTrouble(err)
		}
	}
}

// nextSecret is the next secret to try, for which it waits no longer than the
// worker runs.
func (w *Worker) nextSecret(ctx context.Context, t *trial) (*sharedSecret, error) {
	ctx, cancel := w.untilStopped(ctx)
	defer cancel()
	return t.next(ctx)
}

func (w *Worker) request(r ledger.Receipt, t *turns) appstore.Request {
	return appstore.Request{
		BundleID:               r.App.BundleID,
		Environment:            r.Environment,
		Receipt:                w.data(r),
		ExcludeOldTransactions: w.cfg.ExcludeOldTransactions,
		Wait:                   t.wait,
		Heard:                  t.heard,
	}
}

// untilStopped is a context that ends when the worker is told to stop, too.
func (w *Worker) untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(w.stopping, cancel)
	return ctx, func() { release(); cancel() }
}
