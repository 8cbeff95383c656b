package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
)

// errSaveRefused is a result that Postgres will never take: of this receipt alone.
var errSaveRefused = errors.New("result refused by the database")

// refusal is one of a batch that failed by itself, in a way that time does not heal.
type refusal struct {
	err error
	// others is how many others of its kind were in the batch, and saved how many
	// of those did not fail.
	others, saved int
	// lately is whether one of its kind was saved within witnessFor before, where
	// there are no others.
	lately bool
}

// witnessFor is how long a result that was stored shows that others of its kind can
// be. A database that takes none has no witness for longer, so that it accuses the
// same receipt on two days at most, and never on three.
const witnessFor = time.Hour

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refusedAlone is the error of one that is compared with what was done before.
func (b *batcher[In, Out]) refusedAlone(in In, err error) error {
	if !isHopeless(err) {
		return err
	}
	return &refusal{err: err, lately: b.doneLately(b.kindOf(in))}
}

func (b *batcher[In, Out]) doneLately(kind int) bool {
	at, known := b.done[kind]
	return known && time.Since(at) <= witnessFor
}

// isHopeless is an error that comes again however often it is tried, or that may: what
// is blocked shows only next to others that are not.
func isHopeless(err error) bool {
	return errors.Is(err, database.ErrRefused) || errors.Is(err, database.ErrBroken) ||
		errors.Is(err, database.ErrBlocked) || errors.Is(err, errPanicked)
}

// isPassing is an error of a database that is away.
func isPassing(err error) bool {
	return errors.Is(err, database.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// doApart does each of a batch alone, and tells those that fail of the others. Where
// one after the other is blocked, it ends: the batches behind it wait meanwhile.
func (b *batcher[In, Out]) doApart(ctx context.Context, batch []pending[In, Out]) {
	all, failed := make(map[int]int), make(map[int]int)
	errs := make([]error, len(batch))
	var blocked time.Duration // in tries that were blocked
	for i, p := range batch {
		all[b.kindOf(p.in)]++
		switch started := time.Now(); {
		case i > 0 && isPassing(errs[i-1]):
			errs[i] = errs[i-1] // nor will it be there for this one
		case blocked >= awayTimeout:
			errs[i] = fmt.Errorf("%w: others of the batch were blocked for %s", database.ErrUnavailable, blocked.Round(time.Second))
		default:
			errs[i] = b.doOne(ctx, p)
			if errors.Is(errs[i], database.ErrBlocked) {
				blocked += time.Since(started)
			}
		}
		if errs[i] != nil {
			failed[b.kindOf(p.in)]++
		}
	}
	for i, p := range batch {
		if err := errs[i]; isHopeless(err) {
			k := b.kindOf(p.in)
			p.out <- result[Out]{err: &refusal{
				err: err, others: all[k] - 1, saved: all[k] - failed[k], lately: b.doneLately(k),
			}}
		} else if err != nil {
			p.out <- result[Out]{err: err}
		}
	}
}

func (b *batcher[In, Out]) doOne(ctx context.Context, p pending[In, Out]) error {
	ctx, cancel := saveContext(ctx)
	defer cancel()
	b.beat()
	return b.doAll(ctx, []pending[In, Out]{p})
}

// isOfReceipt reports whether a save was refused for what is in it: others of its
// kind were stored meanwhile, or it was alone, its data are what Postgres names, and
// another was stored shortly before. Where all of several are refused, it is not the
// receipts.
func (r *refusal) isOfReceipt() bool {
	return r.saved > 0 || r.others == 0 && r.lately && errors.Is(r.err, database.ErrRefused)
}

// putOffFor is how long a result that could not be stored for a fault of ours is put
// off at most, so that Apple is not asked again and again meanwhile; putOffAloneFor is
// for one that was alone, which may be the fault of its receipt for all that is known.
const (
	putOffFor      = 5 * time.Minute
	putOffAloneFor = time.Hour
)

// putOff releases the claim of such a result. Its calls were made, and are counted;
// nothing else is.
func (w *Worker) putOff(r claim.Receipt, calls int, most time.Duration) claim.Outcome {
	o := w.notAsked(r)
	o.Calls = calls
	wait := time.Duration(float64(most) * (0.2 + 0.8*w.cfg.Retry.Random()))
	o.NextCheck = iap.Check{At: o.At.Add(wait), Rule: iap.RuleWait}
	return o
}

// insteadOf is the outcome to save in the place of one that failed for good: a
// failure of the receipt, where it is that, or nothing.
func (w *Worker) insteadOf(ctx context.Context, r claim.Receipt, o claim.Outcome, failed error) (claim.Outcome, error) {
	var refused *refusal
	answer := Answer{Calls: o.Calls, Environment: o.Environment}
	switch {
	case errors.Is(failed, errPanicked):
		w.logPanic(r.ID, failed.Error(), "")
		return w.conclude(ctx, r, Answer{Calls: o.Calls}, errPanicked)
	case !errors.As(failed, &refused):
		return claim.Outcome{}, failed
	case refused.isOfReceipt():
		return w.conclude(ctx, r, answer, fmt.Errorf("%w: %w", errSaveRefused, failed))
	}
	if w.refusals.isDue(w.cfg.Now()) {
		w.cfg.Logger.Error("could not store results: all of a batch are refused, which counts against no receipt; they are checked again later",
			"receipt_id", r.ID, "results", refused.others+1, "error", refused.err)
	}
	if refused.others == 0 {
		return w.putOff(r, o.Calls, putOffAloneFor), nil
	}
	return w.putOff(r, o.Calls, putOffFor), nil
}

// seldom is something that is said once in a while.
type seldom struct {
	mu   sync.Mutex
	last time.Time
}

const seldomEvery = time.Minute

func (s *seldom) isDue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && now.Sub(s.last) < seldomEvery {
		return false
	}
	s.last = now
	return true
}
