package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/semaphore"

	"revalidator/internal/iap"
)

// An item is one record on its way: feeder → a worker → collector. The
// collector gets items in the order of the input and waits for each, so that
// "everything up to line n" has a meaning.
type item struct {
	record record
	weight int64         // of the bytes in flight
	err    error         // the end of the input, where it is not io.EOF
	done   chan struct{} // closed once receipt or refused is set

	receipt iap.Receipt
	refused *rejection
}

// A feeder reads records and keeps the bytes in flight bounded.
type feeder struct {
	records  records
	inFlight *semaphore.Weighted
	// weight is the most that one record weighs. It is no more than half of what
	// may be in flight and more than an unfinished batch holds, so that a record
	// of any size gets through while the batch before it waits for more.
	weight  int64
	work    chan *item // to any worker
	ordered chan *item // to the collector
}

func (f *feeder) run(ctx context.Context) error {
	defer close(f.ordered)
	defer close(f.work)
	for {
		record, err := f.records.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		it := &item{record: record, err: err, done: make(chan struct{})}
		it.weight = min(int64(record.size), f.weight)
		if err := f.inFlight.Acquire(ctx, it.weight); err != nil {
			return context.Cause(ctx)
		}
		if !send(ctx, f.work, it) || !send(ctx, f.ordered, it) {
			return context.Cause(ctx)
		}
		if err != nil {
			return nil // the collector reports it after what came before
		}
	}
}

func send(ctx context.Context, to chan<- *item, it *item) bool {
	select {
	case to <- it:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c Config) decodeAll(work <-chan *item) {
	for it := range work {
		if it.err == nil {
			it.receipt, it.refused = c.decode(it.record)
		}
		it.record.row, it.record.json = row{}, nil // nobody needs the text any more
		close(it.done)
	}
}

// A batch is a run of lines whose receipts are stored and whose rejects are
// written together.
type batch struct {
	items    []*item
	receipts []iap.Receipt
	bytes    int

	stored  chan struct{} // closed once what follows is set
	added   []bool
	refused map[int]error // by the place in receipts
	err     error
}

func (b *batch) add(it *item) {
	b.items = append(b.items, it)
	b.bytes += it.record.size
	if it.refused == nil {
		b.receipts = append(b.receipts, it.receipt)
	}
}

func (b *batch) first() record { return b.items[0].record }
func (b *batch) last() record  { return b.items[len(b.items)-1].record }

// storing is how many batches are on their way to the Store at a time: while one
// waits for its commit, the next is written.
const storing = 2

// A collector puts items into batches, has several of these stored at once, and
// settles them in the order of the input.
type collector struct {
	cfg      Config
	inFlight *semaphore.Weighted
	result   Result

	batch   *batch   // that is not full yet
	storing []*batch // from the oldest on
	failed  bool     // a batch did; those after it do not count
}

func (c *collector) run(ctx context.Context, ordered <-chan *item) error {
	err := c.collect(ctx, ordered)
	return errors.Join(c.settle(0), err)
}

func (c *collector) collect(ctx context.Context, ordered <-chan *item) error {
	c.batch = new(batch)
	for it := range ordered {
		<-it.done
		if it.err != nil {
			return errors.Join(c.flush(ctx), c.settle(0), it.err)
		}
		c.batch.add(it)
		if len(c.batch.items) < c.cfg.BatchRows && c.batch.bytes < c.cfg.BatchBytes {
			continue
		}
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	return c.flush(ctx)
}

// flush ends the batch and sends it to the Store, as soon as there is room.
func (c *collector) flush(ctx context.Context) error {
	if len(c.batch.items) == 0 {
		return nil
	}
	if err := c.settle(storing - 1); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b, now := c.batch, c.cfg.Now()
	b.stored = make(chan struct{})
	go func() {
		defer close(b.stored)
		b.added, b.refused, b.err = c.cfg.store(ctx, b.receipts, now)
	}()
	c.storing, c.batch = append(c.storing, b), new(batch)
	return nil
}

// storeAll lets a batch that has begun finish when ctx ends: whether a cancelled
// transaction was committed could not be told.
func (c Config) storeAll(ctx context.Context, receipts []iap.Receipt, now time.Time) ([]bool, error) {
	if len(receipts) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.StoreTimeout)
	defer cancel()
	added, err := c.Store.AddReceipts(ctx, receipts, now)
	if err == nil && len(added) != len(receipts) {
		err = fmt.Errorf("the store returned %d of %d receipts", len(added), len(receipts))
	}
	return added, err
}

// settle waits until no more than so many batches are on their way, and ends
// each in its turn. After one that failed, what the others have stored does not
// count: it is known already when the input comes again.
func (c *collector) settle(most int) (err error) {
	for len(c.storing) > most {
		b := c.storing[0]
		c.storing = c.storing[1:]
		if <-b.stored; c.failed {
			continue
		}
		if err = c.end(b); err != nil {
			c.failed = true
		}
	}
	return err
}

// end ends a batch. The counts move last, when all of it is in the Store and
// among the rejects.
func (c *collector) end(b *batch) error {
	if b.err != nil {
		return fmt.Errorf("store lines %d to %d: %w", b.first().line, b.last().lastLine, b.err)
	}
	if err := c.refuse(b); err != nil {
		return err
	}
	if err := c.cfg.writeRejects(b); err != nil {
		return err
	}
	c.count(b)
	if c.cfg.Progress != nil {
		c.cfg.Progress(c.result.Counts)
	}
	return nil
}

func (c Config) writeRejects(b *batch) error {
	var lines []byte
	for _, it := range b.items {
		if it.refused == nil {
			continue
		}
		line, err := json.Marshal(it.refused)
		if err != nil {
			return fmt.Errorf("encode the reject of line %d: %w", it.record.line, err)
		}
		lines = append(append(lines, line...), '\n')
	}
	if len(lines) == 0 {
		return nil
	}
	if _, err := c.Rejects.Write(lines); err != nil {
		return fmt.Errorf("write the rejects of lines %d to %d: %w", b.first().line, b.last().lastLine, err)
	}
	return nil
}

// count adds a batch to the result, and makes room for others.
func (c *collector) count(b *batch) {
	for i, isNew := range b.added {
		switch {
		case b.refused[i] != nil:
			continue
		case isNew:
			c.result.Added++
		default:
			c.result.Known++
		}
		c.result.ByKind[b.receipts[i].Kind]++
	}
	var weight int64
	for _, it := range b.items {
		weight += it.weight
		if it.refused != nil {
			c.result.Rejected++
			c.result.ByReason[it.refused.Reason]++
		}
	}
	c.result.Lines += int64(len(b.items))
	c.result.Bytes, c.result.LastLine = b.last().end, b.last().lastLine
	c.inFlight.Release(weight)
}
