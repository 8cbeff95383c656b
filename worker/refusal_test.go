package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/database"
	"revalidator/internal/iap"
)

// choosy is a database that refuses batches with some conclusions.
type choosy struct {
	*fakeStore
	refuses func(claim.Outcome) error
}

func (s choosy) SaveOutcomes(ctx context.Context, outcomes []claim.Outcome) ([]claim.Saved, error) {
	for _, o := range outcomes {
		if err := s.refuses(o); err != nil {
			return nil, fmt.Errorf("save %d outcomes: %w", len(outcomes), err)
		}
	}
	return s.fakeStore.SaveOutcomes(ctx, outcomes)
}

// conclusionsOf is a choosy database that refuses the conclusions of receipts up to
// an id, and nothing else.
func conclusionsOf(upTo int64, err error) func(claim.Outcome) error {
	return func(o claim.Outcome) error {
		if o.Conclusion != nil && o.ReceiptID <= upTo {
			return err
		}
		return nil
	}
}

// TestWhatIsNeverStored saves the results of four receipts, of which some are bare,
// at once, and says of which a failure is counted.
func TestWhatIsNeverStored(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		receipts, bare int
		refuses        func(claim.Outcome) error
		// counted and putOff are receipts, and errors are left to the queue.
		counted, putOff, errors int
		told                    int
		bought                  int // how many of the receipts show a purchase
	}{
		"one, while the others are stored":              {4, 0, conclusionsOf(1, database.ErrRefused), 1, 0, 0, 0, 0},
		"three, while one is stored":                    {4, 0, conclusionsOf(3, database.ErrRefused), 3, 0, 0, 0, 0},
		"by a fault of Postgres, others are stored":     {4, 0, conclusionsOf(1, database.ErrBroken), 1, 0, 0, 0, 0},
		"one takes too long, others are stored":         {4, 0, conclusionsOf(1, database.ErrBlocked), 1, 0, 0, 0, 0},
		"all take too long":                             {4, 0, conclusionsOf(4, database.ErrBlocked), 0, 4, 0, 1, 0},
		"one alone takes too long":                      {1, 0, conclusionsOf(1, database.ErrBlocked), 0, 1, 0, 1, 0},
		"all of them":                                   {4, 0, conclusionsOf(4, database.ErrRefused), 0, 4, 0, 1, 0},
		"all that conclude, while bare ones are stored": {2, 2, conclusionsOf(2, database.ErrBroken), 0, 2, 0, 1, 0},
		"one alone":                          {1, 0, conclusionsOf(1, database.ErrRefused), 0, 1, 0, 1, 0},
		"one alone, by a fault of ours":      {1, 0, conclusionsOf(1, database.ErrBroken), 0, 1, 0, 1, 0},
		"one that concludes among bare ones": {1, 3, conclusionsOf(1, database.ErrRefused), 0, 1, 0, 1, 0},
		"everything, whatever is in it":      {4, 0, func(claim.Outcome) error { return database.ErrBroken }, 0, 0, 4, 1, 0},
		"one with a purchase, while others without one are stored": {4, 0, func(o claim.Outcome) error {
			if o.ReceiptID == 1 && o.Conclusion != nil {
				return database.ErrBroken
			}
			return nil
		}, 0, 1, 0, 1, 1},
		"one, and its failure is refused too": {4, 0, func(o claim.Outcome) error {
			return conclusionsOf(1, database.ErrRefused)(claim.Outcome{ReceiptID: o.ReceiptID, Conclusion: &iap.Conclusion{}})
		}, 0, 0, 1, 0, 0},
		"away":                              {4, 0, func(claim.Outcome) error { return database.ErrUnavailable }, 0, 0, 4, 0, 0},
		"an error that nothing is known of": {4, 0, conclusionsOf(1, errRefused), 0, 0, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newParts(t, func(c *Config) {
					c.Store, c.BatchDelay = choosy{c.Store.(*fakeStore), test.refuses}, time.Hour
					c.BatchSize = test.receipts + test.bare
					c.Registerer = nil
				})
				failed := 0
				var mu sync.Mutex
				var all sync.WaitGroup
				for i := range test.receipts + test.bare {
					r := claimed()
					r.ID = int64(i + 1)
					o := p.notAsked(r)
					o.Calls = 1
					if i < test.receipts {
						o.Asked, o.Conclusion = true, &iap.Conclusion{}
						o.Conclusion.Purchases = make([]iap.Purchase, min(max(test.bought-i, 0), 1))
					}
					all.Go(func() {
						if _, _, err := p.saveSafely(t.Context(), r, o); err != nil {
							mu.Lock()
							defer mu.Unlock()
							failed++
						}
					})
				}
				all.Wait()
				counted, putOff := 0, 0
				for _, o := range p.store.saved {
					switch {
					case o.Failure == "save_refused":
						counted++
						if !o.Asked || o.Calls != 1 || o.Conclusion != nil || o.NextCheck.Rule != iap.RuleRetry {
							t.Errorf("outcome %+v, want a failure that is checked again", o)
						}
					case o.Conclusion == nil && o.NextCheck.Rule == iap.RuleWait:
						putOff++
						most := putOffFor
						if test.receipts == 1 || test.bought == 1 { // alone of its kind
							most = putOffAloneFor
						}
						if wait := o.NextCheck.At.Sub(noon); o.Asked || o.Failure != "" || o.Calls != 1 || wait < most/5 || wait > most {
							t.Errorf("outcome %+v, want it put off for minutes, with its call and nothing else counted", o)
						}
					}
				}
				got := []int{counted, putOff, failed, len(p.log.at(slog.LevelError))}
				if diff := cmp.Diff([]int{test.counted, test.putOff, test.errors, test.told}, got); diff != "" {
					t.Errorf("counted, put off, left to the queue, errors told (-want +got)\n%s", diff)
				}
			})
		})
	}
}

// TestRefusedAlone is held against the receipt only where another result of its kind was
// stored shortly before, and its data are what Postgres names.
func TestRefusedAlone(t *testing.T) {
	t.Parallel()
	concluded := claim.Outcome{ReceiptID: 2, Conclusion: &iap.Conclusion{}}
	bare := claim.Outcome{ReceiptID: 2}
	for name, test := range map[string]struct {
		before    *claim.Outcome // what was stored before; nil is nothing
		ago       time.Duration
		err       error
		ofReceipt bool
	}{
		"the first of a saver":                  {nil, 0, database.ErrRefused, false},
		"shortly after another":                 {&concluded, time.Minute, database.ErrRefused, true},
		"an hour after another":                 {&concluded, witnessFor, database.ErrRefused, true},
		"more than an hour after another":       {&concluded, witnessFor + time.Second, database.ErrRefused, false},
		"after one of another kind":             {&bare, time.Minute, database.ErrRefused, false},
		"by a fault of Postgres, after another": {&concluded, time.Minute, database.ErrBroken, false},
		"blocked by somebody, after another":    {&concluded, time.Minute, database.ErrBlocked, false},
	} {
		t.Run(name, func(t *testing.T) {
			store := &batchStore{refuse: 1, refusal: fmt.Errorf("save: %w", test.err)}
			inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
				if test.before != nil {
					if _, err := b.share(t.Context(), *test.before); err != nil {
						t.Fatal(err)
					}
					time.Sleep(test.ago - b.delay)
				}
				_, err := b.share(t.Context(), claim.Outcome{ReceiptID: 1, Conclusion: &iap.Conclusion{}})
				var refused *refusal
				if !errors.As(err, &refused) || refused.isOfReceipt() != test.ofReceipt {
					t.Errorf("got %v, want it held against the receipt: %t", err, test.ofReceipt)
				}
			})
		})
	}
}

// TestBlockedOneDoesNotFailItsBatch and does not have the others wait for it as for a
// database that is away.
func TestBlockedOneDoesNotFailItsBatch(t *testing.T) {
	store := &batchStore{refuse: 1, refusal: fmt.Errorf("save: %w", database.ErrBlocked)}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		started := time.Now()
		for id, r := range answers(t.Context(), b, 4)() {
			if errors.Is(r.err, database.ErrBlocked) != (id == 1) || (r.err == nil) != (id != 1) {
				t.Errorf("outcome %d: %v; want that of the first alone to fail", id, r.err)
			}
		}
		if got := time.Since(started); got != 10*time.Millisecond {
			t.Errorf("took %v", got)
		}
	})
}

// TestAllBlocked ends after a while, because everybody else waits: those that were not
// tried are left to the queue, and those that were are no fault of their receipts.
func TestAllBlocked(t *testing.T) {
	store := &batchStore{before: func(ctx context.Context) error {
		<-ctx.Done() // as long as a save may take
		return fmt.Errorf("save: %w", database.ErrBlocked)
	}}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		started := time.Now()
		tried := 0
		for id, r := range answers(t.Context(), b, 50)() {
			var refused *refusal
			switch {
			case errors.As(r.err, &refused):
				if tried++; refused.isOfReceipt() {
					t.Errorf("outcome %d: %v is held against its receipt", id, r.err)
				}
			case !errors.Is(r.err, database.ErrUnavailable):
				t.Errorf("outcome %d: got %v, want it left to the queue", id, r.err)
			}
		}
		if tried != 3 {
			t.Errorf("%d were tried, want 3", tried)
		}
		if got, want := time.Since(started), saveTimeout+awayTimeout+10*time.Millisecond; got != want {
			t.Errorf("took %v, want %v", got, want)
		}
	})
}

// TestAFaultOfOursIsToldOnceAMinute and not for each receipt.
func TestAFaultOfOursIsToldOnceAMinute(t *testing.T) {
	t.Parallel()
	var s seldom
	told := 0
	for i := range 200 {
		if s.isDue(noon.Add(time.Duration(i) * time.Second)) {
			told++
		}
	}
	if told != 4 {
		t.Errorf("told %d times in 200 s, want 4", told)
	}
}

// TestBatchIsCutByRows has outcomes of different sizes come at once.
func TestBatchIsCutByRows(t *testing.T) {
	store := &batchStore{}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		b.maxWeight = 10
		rows := []int{3, 3, 3, 3, 50, 1, 1, 9, 2}
		done := make(chan result[claim.Saved], len(rows))
		go func() {
			for i, n := range rows {
				c := &iap.Conclusion{Subscriptions: make([]iap.Subscription, n-1)}
				b.in <- pending[claim.Outcome, claim.Saved]{claim.Outcome{ReceiptID: int64(i + 1), Conclusion: c}, done}
			}
		}()
		for range rows {
			if r := <-done; r.err != nil {
				t.Error(r.err)
			}
		}
		if diff := cmp.Diff([][]int64{{1, 2, 3}, {4}, {5}, {6, 7}, {8}, {9}}, store.batches); diff != "" {
			t.Errorf("batches (-want +got)\n%s", diff)
		}
	})
}

// TestStopWithOneThatDidNotFit stores it too.
func TestStopWithOneThatDidNotFit(t *testing.T) {
	store := &batchStore{}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], stop func()) {
		b.maxWeight = 1
		committing, finish := store.hold()
		all := answers(t.Context(), b, 2)
		<-committing
		synctest.Wait()
		stop()
		close(finish)
		for id, r := range all() {
			if r.err != nil && !errors.Is(r.err, errStopped) {
				t.Errorf("outcome %d: %v", id, r.err)
			}
		}
	})
}

func TestRowsOfAnOutcome(t *testing.T) {
	t.Parallel()
	for want, c := range map[int]*iap.Conclusion{
		1:  nil,
		4:  {Subscriptions: make([]iap.Subscription, 2), Purchases: make([]iap.Purchase, 1)},
		12: {Subscriptions: []iap.Subscription{{Revocations: make([]iap.Revocation, 50)}}},
	} {
		if got := rowsOf(claim.Outcome{Conclusion: c}); got != want {
			t.Errorf("%+v: %d rows, want %d", c, got, want)
		}
	}
}
