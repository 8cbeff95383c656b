// Package intake takes in receipts from files: it reads lines of NDJSON or
// CSV, refuses what is no receipt with a word on what to do, and hands the
// rest to a Store in batches. It leaves reading a receipt's bytes to
// internal/receipt and storage to repository.
package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"revalidator/internal/iap"
)

// Store is where receipts are kept.
type Store interface {
	// AddReceipts stores a batch in one transaction, due at once. Two are stored
	// at a time. added[i] is
	// false where the same receipt of the same customer was there already,
	// also earlier in the batch. Its error is database.ErrRefused or
	// database.ErrNotFound where one of the batch may be the cause.
	AddReceipts(ctx context.Context, batch []iap.Receipt, now time.Time) (added []bool, err error)
}

// Config says how to import. Store, HasApp and Rejects must be set; every
// other zero value stands for the default.
type Config struct {
	Store Store
	// HasApp tells whether a bundle id is among the apps. It is called by
	// several goroutines at once, for every line.
	HasApp func(bundleID string) bool
	// Rejects gets one JSON object a line for each refused line of the input:
	// line, bundle_id, customer_ref, reason and error, with the receipt or the
	// original line, so that it can be corrected and imported. It must be kept
	// from others as the input is.
	Rejects io.Writer

	// BatchRows and BatchBytes end a batch at whichever comes first: that many
	// lines (500) or that many bytes of input (2 MiB). Larger ones save round
	// trips and cost memory: up to about sixteen times BatchBytes is in use, and
	// about twenty times a line that is larger than BatchBytes.
	BatchRows, BatchBytes int
	// MaxLineBytes is the longest line that is read (32 MiB); in CSV, the
	// longest record. A longer one is refused, and skipped without being kept.
	MaxLineBytes int
	// Workers is how many goroutines decode lines while the Store writes
	// (one for each CPU, up to 4).
	Workers int
	// StoreTimeout is how long one batch may take (1 minute). A cancelled
	// import lets the batch that is under way finish in it.
	StoreTimeout time.Duration
	// Now is the clock that dates a batch (time.Now).
	Now func() time.Time
	// Progress, if set, is told where the import stands after each batch. It
	// must not block.
	Progress func(Counts)
}

// Counts is how far an import has come.
type Counts struct {
	Bytes    int64 // of the input, up to and including LastLine
	LastLine int64 // every line up to this one is stored or among the rejects
	Lines    int64 // receipts that were read, without blank lines and the CSV header
	Added    int64 // new in the Store
	Known    int64 // in the Store already, or twice in the input
	Rejected int64
}

// Result is what an import did. Its counts are right also where Run returns an
// error: they include whole batches only.
type Result struct {
	Counts
	ByReason map[Reason]int64          // of the rejected
	ByKind   map[iap.ReceiptKind]int64 // of the added and the known
}

// Run imports receipts from r until its end. A line that cannot be imported is
// refused and the import goes on; an error ends it only where the input cannot
// be read on, the Store or Rejects cannot be written, or ctx ends, which is
// noticed between two batches. The error says up to which line everything is
// done. Running the same input again is safe: what is stored is known.
//
// Run waits for its goroutines, so a Read of r that blocks keeps it from
// returning when ctx ends.
func Run(ctx context.Context, r io.Reader, format Format, cfg Config) (Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Result{}, err
	}
	records, err := openRecords(r, format, cfg.MaxLineBytes)
	if err != nil {
		return Result{}, fmt.Errorf("import: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	feed := feeder{
		records:  records,
		weight:   int64(cfg.BatchBytes),
		inFlight: semaphore.NewWeighted((storing + 2) * int64(cfg.BatchBytes)),
		work:     make(chan *item),
		ordered:  make(chan *item, cfg.BatchRows),
	}
	collect := collector{cfg: cfg, inFlight: feed.inFlight, result: newResult()}
	group.Go(func() error { return feed.run(ctx) })
	for range cfg.Workers {
		group.Go(func() error { cfg.decodeAll(feed.work); return nil })
	}
	group.Go(func() error { return collect.run(ctx, feed.ordered) })
	switch err := group.Wait(); {
	case errors.Is(err, errNotLines):
		return collect.result, fmt.Errorf("import: %w", err)
	case err != nil:
		return collect.result, fmt.Errorf("import: every line up to %d is done, run it again for the rest: %w",
			collect.result.LastLine, err)
	}
	return collect.result, nil
}

func newResult() Result {
	return Result{ByReason: make(map[Reason]int64), ByKind: make(map[iap.ReceiptKind]int64)}
}

func (c Config) withDefaults() (Config, error) {
	if c.Store == nil || c.HasApp == nil || c.Rejects == nil {
		return c, errors.New("import: Store, HasApp and Rejects must be set")
	}
	orDefault(&c.BatchRows, 500)
	orDefault(&c.BatchBytes, 2<<20)
	orDefault(&c.MaxLineBytes, 32<<20)
	orDefault(&c.Workers, min(runtime.GOMAXPROCS(0), 4))
	if c.StoreTimeout <= 0 {
		c.StoreTimeout = time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func orDefault(n *int, value int) {
	if *n <= 0 {
		*n = value
	}
}
