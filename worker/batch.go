package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"revalidator/internal/ledger"
)

// saveTimeout bounds what is done to store one batch, so that a database that
// hangs does not hold every receipt in hand.
const saveTimeout = 30 * time.Second

// errStopped is a batcher that does not take outcomes any more.
var errStopped = errors.New("worker has stopped")

// batcher lets the outcomes of many handlers share a transaction: one commit to
// disk for a hundred receipts instead of one each.
type batcher struct {
	store   Store
	size    int
	delay   time.Duration
	in      chan pending
	stopped chan struct{}
	beat    func() // is told of each round
}

// beatEvery is how often a loop goes round that has nothing to do.
const beatEvery = 10 * time.Second

type pending struct {
	outcome ledger.Outcome
	result  chan<- result
}

type result struct {
	saved bool
	err   error
}

func newBatcher(store Store, size int, delay time.Duration) *batcher {
	return &batcher{
		store: store, size: size, delay: delay,
		in: make(chan pending), stopped: make(chan struct{}), beat: func() {},
	}
}

// save returns once the outcome is durable, or was found void: saved is false
// where the claim was lost.
func (b *batcher) save(ctx context.Context, o ledger.Outcome) (saved bool, err error) {
	done := make(chan result, 1)
	select {
	case b.in <- pending{o, done}:
	case <-b.stopped:
		return false, errStopped
	case <-ctx.Done():
		return false, ctx.Err()
	}
	// It is on its way now: to leave would be to not know what became of it.
	r := <-done
	return r.saved, r.err
}

// run commits batches until ctx ends. While one batch commits, the next one
// gathers.
func (b *batcher) run(ctx context.Context) {
	defer close(b.stopped)
	idle := time.NewTicker(beatEvery)
	defer idle.Stop()
	for {
		b.beat()
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
		case first := <-b.in:
			b.commit(ctx, b.gather(first))
		}
	}
}

func (b *batcher) gather(first pending) []pending {
	batch := []pending{first}
	full := time.NewTimer(b.delay)
	defer full.Stop()
	for len(batch) < b.size {
		select {
		case p := <-b.in:
			batch = append(batch, p)
		case <-full.C:
			return batch
		}
	}
	return batch
}

// commit stores a batch. Where it fails, each outcome is stored alone, so that
// one that Postgres refuses does not fail the others. What has come so far is
// kept after ctx has ended.
func (b *batcher) commit(ctx context.Context, batch []pending) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := b.storeAll(ctx, batch)
	if err == nil {
		return
	}
	if len(batch) == 1 {
		batch[0].result <- result{err: err}
		return
	}
	for _, p := range batch {
		if err := b.storeAll(ctx, []pending{p}); err != nil {
			p.result <- result{err: err}
		}
	}
}

// storeAll stores a batch in one transaction and answers those who wait for it,
// unless it fails.
func (b *batcher) storeAll(ctx context.Context, batch []pending) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %s\n%s", errPanicked, panicText(cause), debug.Stack())
		}
	}()
	outcomes := make([]ledger.Outcome, len(batch))
	for i, p := range batch {
		outcomes[i] = p.outcome
	}
	saved, err := b.store.SaveOutcomes(ctx, outcomes)
	if err != nil {
		return err
	}
	for i, p := range batch {
		p.result <- result{saved: saved[i]}
	}
	return nil
}
