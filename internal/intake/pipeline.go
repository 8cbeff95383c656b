package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

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
	// weight is the most that one record weighs. It is half of what may be in
	// flight and more than an unfinished batch holds, so that a record of any
	// size gets through while the batch before it waits for more.
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

// A collector puts items into batches: runs of lines whose receipts are stored
// and whose rejects are written together.
type collector struct {
	cfg      Config
	inFlight *semaphore.Weighted
	result   Result

	items    []*item
	receipts []iap.Receipt
	bytes    int
}

func (c *collector) run(ctx context.Context, ordered <-chan *item) error {
	for it := range ordered {
		<-it.done
		if it.err != nil {
			return errors.Join(c.flush(ctx), it.err)
		}
		c.add(it)
		if len(c.items) < c.cfg.BatchRows && c.bytes < c.cfg.BatchBytes {
			continue
		}
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	return c.flush(ctx)
}

func (c *collector) add(it *item) {
	c.items = append(c.items, it)
	c.bytes += it.record.size
	if it.refused == nil {
		c.receipts = append(c.receipts, it.receipt)
	}
}

// flush ends the batch. The counts move last, when all of it is in the Store
// and among the rejects.
func (c *collector) flush(ctx context.Context) error {
	if len(c.items) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	added, err := c.store(ctx)
	if err != nil {
		return fmt.Errorf("store lines %d to %d: %w", c.items[0].record.line, c.last().lastLine, err)
	}
	if err := c.writeRejects(); err != nil {
		return err
	}
	c.count(added)
	if c.cfg.Progress != nil {
		c.cfg.Progress(c.result.Counts)
	}
	return nil
}

func (c *collector) last() record { return c.items[len(c.items)-1].record }

// store lets a batch that has begun finish when ctx ends: whether a cancelled
// transaction was committed could not be told.
func (c *collector) store(ctx context.Context) ([]bool, error) {
	if len(c.receipts) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.StoreTimeout)
	defer cancel()
	added, err := c.cfg.Store.AddReceipts(ctx, c.receipts, c.cfg.Now())
	if err == nil && len(added) != len(c.receipts) {
		err = fmt.Errorf("the store answers for %d of %d receipts", len(added), len(c.receipts))
	}
	return added, err
}

func (c *collector) writeRejects() error {
	var lines []byte
	for _, it := range c.items {
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
	if _, err := c.cfg.Rejects.Write(lines); err != nil {
		return fmt.Errorf("write the rejects of lines %d to %d: %w", c.items[0].record.line, c.last().lastLine, err)
	}
	return nil
}

// count adds the batch to the result and begins the next one.
func (c *collector) count(added []bool) {
	for i, isNew := range added {
		if isNew {
			c.result.Added++
		} else {
			c.result.Known++
		}
		c.result.ByKind[c.receipts[i].Kind]++
	}
	var weight int64
	for _, it := range c.items {
		weight += it.weight
		if it.refused != nil {
			c.result.Rejected++
			c.result.ByReason[it.refused.Reason]++
		}
	}
	c.result.Lines += int64(len(c.items))
	c.result.Bytes, c.result.LastLine = c.last().end, c.last().lastLine
	clear(c.items) // so that the receipts can be freed
	clear(c.receipts)
	c.items, c.receipts, c.bytes = c.items[:0], c.receipts[:0], 0
	c.inFlight.Release(weight)
}
