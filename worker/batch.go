package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"revalidator/internal/claim"
	"revalidator/internal/clock"
	"revalidator/internal/database"
)

// saveTimeout bounds what is done for one batch, so that a database that hangs
// does not hold every receipt in hand.
const saveTimeout = 30 * time.Second

// awayTimeout is how long outcomes are kept for a database that is away, and
// awayPause the time between two tries. What is given up on is asked about again,
// so that it is nearly as long as a task may take beside its calls.
const (
	awayTimeout = 90 * time.Second
	awayPause   = 250 * time.Millisecond
)

// errStopped is a batcher that does not take anything any more.
var errStopped = errors.New("worker has stopped")

// batcher lets many handlers share a round to the database: one commit to disk
// for a hundred outcomes instead of one each, one query for a hundred receipts.
type batcher[In, Out any] struct {
	// do does a batch as a whole or not at all: its result has one Out for each
	// In.
	do    func(ctx context.Context, batch []In) ([]Out, error)
	size  int
	delay time.Duration
	// weight is how much of maxWeight one of a batch takes. What takes more goes
	// alone. Nil is nothing.
	weight    func(In) int
	maxWeight int
	// kind tells apart what says nothing about each other where one fails and the
	// other does not. Nil is one kind.
	kind func(In) int
	// patient has batches wait for a database that is away: they hold what would
	// have to be asked for again.
	patient bool
	in      chan pending[In, Out]
	next    *pending[In, Out] // that did not fit into the batch before
	done    map[int]time.Time // when one of a kind was last done, for run alone
	stopped chan struct{}
	beat    func() // is told of each round
}

// beatEvery is how often a loop goes round that has nothing to do.
const beatEvery = 10 * time.Second

type pending[In, Out any] struct {
	in  In
	out chan<- result[Out]
}

type result[Out any] struct {
	out Out
	err error
}

func newBatcher[In, Out any](size int, delay time.Duration, do func(context.Context, []In) ([]Out, error)) *batcher[In, Out] {
	return &batcher[In, Out]{
		do: do, size: size, delay: delay,
		done: make(map[int]time.Time), in: make(chan pending[In, Out]), stopped: make(chan struct{}), beat: func() {},
	}
}

// mostRows is how many rows the outcomes of one transaction have, unless one alone
// has more: what a transaction costs in memory, here and in Postgres, follows from
// them.
const mostRows = 1000

// newSaver makes the batcher of outcomes: each is durable once it is through, unless
// its claim was lost.
func newSaver(store Store, size int, delay time.Duration) *batcher[claim.Outcome, claim.Saved] {
	b := newBatcher(size, delay, store.SaveOutcomes)
	b.weight, b.maxWeight, b.kind, b.patient = rowsOf, mostRows, kindOf, true
	return b
}

// revocationsPerRow is how many revocations are as long as a row.
const revocationsPerRow = 5

// rowsOf is how many rows an outcome is stored in.
func rowsOf(o claim.Outcome) int {
	if o.Conclusion == nil {
		return 1
	}
	rows := 1 + len(o.Conclusion.Subscriptions) + len(o.Conclusion.Purchases)
	for _, s := range o.Conclusion.Subscriptions {
		rows += len(s.Revocations) / revocationsPerRow
	}
	return rows
}

// The kinds of outcomes are told apart by the tables that they are written to, which
// those of other kinds never touch.
const (
	kindConcluded = 1 << iota
	kindSubscribed
	kindBought
)

func kindOf(o claim.Outcome) (kind int) {
	if o.Conclusion == nil {
		return kind
	}
	kind = kindConcluded
	if len(o.Conclusion.Subscriptions) > 0 {
		kind |= kindSubscribed
	}
	if len(o.Conclusion.Purchases) > 0 {
		kind |= kindBought
	}
	return kind
}

// share returns once its batch is done.
func (b *batcher[In, Out]) share(ctx context.Context, in In) (Out, error) {
	var none Out
	done := make(chan result[Out], 1)
	select {
	case b.in <- pending[In, Out]{in, done}:
	case <-b.stopped:
		return none, errStopped
	case <-ctx.Done():
		return none, ctx.Err()
	}
	// It is on its way now: to leave would be to not know what became of it.
	r := <-done
	return r.out, r.err
}

// run does batches until ctx ends.
func (b *batcher[In, Out]) run(ctx context.Context) {
	defer close(b.stopped)
	idle := time.NewTicker(beatEvery)
	defer idle.Stop()
	for {
		b.beat()
		if first := b.next; first != nil {
			b.next = nil
			b.finish(ctx, b.gather(*first))
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
		case first := <-b.in:
			b.finish(ctx, b.gather(first))
		}
	}
}

func (b *batcher[In, Out]) gather(first pending[In, Out]) []pending[In, Out] {
	batch, weight := []pending[In, Out]{first}, b.weigh(first.in)
	full := time.NewTimer(b.delay)
	defer full.Stop()
	for len(batch) < b.size && (b.weight == nil || weight < b.maxWeight) {
		select {
		case p := <-b.in:
			if weight += b.weigh(p.in); b.weight != nil && weight > b.maxWeight {
				b.next = &p
				return batch
			}
			batch = append(batch, p)
		case <-full.C:
			return batch
		}
	}
	return batch
}

func (b *batcher[In, Out]) weigh(in In) int {
	if b.weight == nil {
		return 0
	}
	return b.weight(in)
}

func (b *batcher[In, Out]) kindOf(in In) int {
	if b.kind == nil {
		return 0
	}
	return b.kind(in)
}

// finish does a batch. Where it fails, each part of it is done alone, so that one
// that Postgres refuses does not fail the others, unless the database is away: then
// they are all told. What has come so far is done after ctx has ended.
func (b *batcher[In, Out]) finish(ctx context.Context, batch []pending[In, Out]) {
	saving, cancel := saveContext(ctx)
	defer func() { cancel() }()
	err := b.doAll(saving, batch)
	for until := time.Now().Add(awayTimeout); b.patient && errors.Is(err, database.ErrUnavailable) && time.Now().Before(until); {
		if clock.Sleep(ctx, awayPause) != nil {
			break
		}
		b.beat()
		cancel()
		saving, cancel = saveContext(ctx)
		err = b.doAll(saving, batch)
	}
	switch {
	case err == nil:
	case len(batch) == 1 || isPassing(err):
		for _, p := range batch {
			p.out <- result[Out]{err: b.refusedAlone(p.in, err)}
		}
	default:
		b.doApart(ctx, batch)
	}
}

// doAll does a batch and answers those who wait for it, unless it fails.
func (b *batcher[In, Out]) doAll(ctx context.Context, batch []pending[In, Out]) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %s\n%s", errPanicked, panicText(cause), debug.Stack())
		}
	}()
	in := make([]In, len(batch))
	for i, p := range batch {
		in[i] = p.in
	}
	out, err := b.do(ctx, in)
	if err != nil {
		return err
	}
	for i, p := range batch {
		b.done[b.kindOf(p.in)] = time.Now()
		p.out <- result[Out]{out: out[i]}
	}
	return nil
}

func saveContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
}
