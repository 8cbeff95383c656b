package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/database"
)

var errRefused = errors.New("refused by the database")

// batchStore is a database that keeps the ids of outcomes, batch by batch.
type batchStore struct {
	Store
	// refuse fails every batch with this id, by refusal or errRefused; before is
	// called first.
	refuse  int64
	refusal error
	before  func(context.Context) error

	mu      sync.Mutex
	tried   int
	batches [][]int64
}

func (s *batchStore) SaveOutcomes(ctx context.Context, outcomes []claim.Outcome) ([]claim.Saved, error) {
	s.mu.Lock()
	s.tried++
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	var saved []claim.Saved
	for _, o := range outcomes {
		if o.ReceiptID == s.refuse {
			if s.refusal != nil {
				return nil, s.refusal
			}
			return nil, errRefused
		}
		ids = append(ids, o.ReceiptID)
		saved = append(saved, claim.Saved{Held: o.ReceiptID%2 == 0}) // the claims of odd ones are lost
	}
	s.batches = append(s.batches, ids)
	return saved, nil
}

// hold lets every transaction say that it has begun, and wait until finish is
// closed. The channels belong to the bubble that calls it.
func (s *batchStore) hold() (committing <-chan struct{}, finish chan<- struct{}) {
	begun, end := make(chan struct{}, 10), make(chan struct{})
	s.before = func(ctx context.Context) error {
		begun <- struct{}{}
		<-end
		return ctx.Err()
	}
	return begun, end
}

// inBubble runs a test with a running batcher of at most 100 outcomes in 10 ms,
// on a clock that stands still while anybody works. The test must stop it; a
// goroutine that is left over fails the test.
func inBubble(t *testing.T, store *batchStore, test func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], stop func())) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newSaver(store, 100, 10*time.Millisecond)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go b.run(ctx)
		test(t, b, stop)
	})
}

// answers saves outcomes at once and returns what became of each.
func answers(ctx context.Context, b *batcher[claim.Outcome, claim.Saved], n int64) func() map[int64]result[bool] {
	var mu sync.Mutex
	var savers sync.WaitGroup
	all := make(map[int64]result[bool])
	for id := int64(1); id <= n; id++ {
		savers.Go(func() {
			saved, err := b.share(ctx, claim.Outcome{ReceiptID: id})
			mu.Lock()
			defer mu.Unlock()
			all[id] = result[bool]{saved.Held, err}
		})
	}
	return func() map[int64]result[bool] {
		savers.Wait()
		return all
	}
}

func TestSaversShareTransactions(t *testing.T) {
	store := &batchStore{}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		started := time.Now()
		for id, r := range answers(t.Context(), b, 250)() {
			if r.err != nil || r.out != (id%2 == 0) {
				t.Errorf("outcome %d: saved %t, error %v; want its own answer, not a neighbour's", id, r.out, r.err)
			}
		}
		if got := time.Since(started); got != 10*time.Millisecond {
			t.Errorf("took %v, want 10ms: only the last batch waits for company", got)
		}
		var sizes []int
		for _, batch := range store.batches {
			sizes = append(sizes, len(batch))
		}
		if diff := cmp.Diff([]int{100, 100, 50}, sizes); diff != "" {
			t.Errorf("sizes of the transactions (-want +got)\n%s", diff)
		}
	})
}

func TestLoneOutcomeWaitsNoLongerThanTheDelay(t *testing.T) {
	inBubble(t, &batchStore{}, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		started := time.Now()
		answers(t.Context(), b, 1)()
		if got := time.Since(started); got != 10*time.Millisecond {
			t.Errorf("took %v, want 10ms", got)
		}
	})
}

func TestBatchKeepsTheOrder(t *testing.T) {
	store := &batchStore{}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		done := make(chan result[claim.Saved], 5)
		want := []int64{5, 3, 4, 1, 2}
		for _, id := range want {
			b.in <- pending[claim.Outcome, claim.Saved]{claim.Outcome{ReceiptID: id}, done}
		}
		for range want {
			<-done
		}
		if diff := cmp.Diff([][]int64{want}, store.batches); diff != "" {
			t.Errorf("batches (-want +got)\n%s", diff)
		}
	})
}

func TestBadOutcomeFailsAlone(t *testing.T) {
	store := &batchStore{refuse: 7}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		for id, r := range answers(t.Context(), b, 20)() {
			if errors.Is(r.err, errRefused) != (id == 7) || r.out != (id%2 == 0) {
				t.Errorf("outcome %d: saved %t, error %v", id, r.out, r.err)
			}
		}
		if store.tried != 21 || len(store.batches) != 19 {
			t.Errorf("%d transactions, %d of them good; want one for all, and then one for each", store.tried, len(store.batches))
		}
	})
}

func TestBadOutcomeAloneIsTriedOnce(t *testing.T) {
	store := &batchStore{refuse: 1}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		if r := answers(t.Context(), b, 1)()[1]; !errors.Is(r.err, errRefused) {
			t.Errorf("error: got %v, want %v", r.err, errRefused)
		}
		if store.tried != 1 {
			t.Errorf("tried %d times, want once", store.tried)
		}
	})
}

// TestSlowStoreLosesNobody stops the batcher in the middle of a commit: whoever
// is told that an outcome is saved finds it in the store, and nobody waits for
// ever.
func TestSlowStoreLosesNobody(t *testing.T) {
	store := &batchStore{}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], stop func()) {
		committing, finish := store.hold()
		all := answers(t.Context(), b, 130)
		<-committing
		stop()
		synctest.Wait()
		close(finish)
		var durable []int64
		for id, r := range all() {
			switch {
			case r.err == nil:
				durable = append(durable, id)
			case !errors.Is(r.err, errStopped):
				t.Errorf("outcome %d: %v", id, r.err)
			}
		}
		slices.Sort(durable)
		stored := slices.Concat(store.batches...)
		slices.Sort(stored)
		if diff := cmp.Diff(stored, durable); diff != "" {
			t.Errorf("stored, and told to be (-stored +told)\n%s", diff)
		}
		if len(stored) < 100 {
			t.Errorf("%d were stored, want at least the batch that was being committed", len(stored))
		}
	})
}

func TestSaveAfterTheStop(t *testing.T) {
	store := &batchStore{}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], stop func()) {
		stop()
		<-b.stopped
		if _, err := b.share(t.Context(), claim.Outcome{}); !errors.Is(err, errStopped) {
			t.Errorf("error: got %v, want %v", err, errStopped)
		}
		if store.tried != 0 {
			t.Error("it was stored all the same")
		}
	})
}

// TestSaverThatLeaves goes while the batcher is busy with others: before its
// outcome was taken it may, after that it must learn what became of it.
func TestSaverThatLeaves(t *testing.T) {
	store := &batchStore{}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		committing, finish := store.hold()
		ctx, leave := context.WithCancel(t.Context())
		taken := answers(ctx, b, 2)
		<-committing
		late := answers(ctx, b, 1)
		synctest.Wait()
		leave()
		if r := late()[1]; !errors.Is(r.err, context.Canceled) {
			t.Errorf("not taken yet: got %v, want %v", r.err, context.Canceled)
		}
		close(finish)
		for id, r := range taken() {
			if r.err != nil || r.out != (id%2 == 0) {
				t.Errorf("taken outcome %d: saved %t, error %v", id, r.out, r.err)
			}
		}
	})
}

// TestStoreThatHangs must not hold a batch for longer than it takes to see it.
func TestStoreThatHangs(t *testing.T) {
	store := &batchStore{before: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
		started := time.Now()
		for id, r := range answers(t.Context(), b, 3)() {
			if !errors.Is(r.err, context.DeadlineExceeded) {
				t.Errorf("outcome %d: got %v, want %v", id, r.err, context.DeadlineExceeded)
			}
		}
		if got, want := time.Since(started), saveTimeout+10*time.Millisecond; got != want {
			t.Errorf("took %v, want %v", got, want)
		}
	})
}

// TestStoreThatIsAway keeps outcomes until the store is back, or until nobody
// may wait any longer.
func TestStoreThatIsAway(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		away  time.Duration
		saved bool
	}{
		"for a while":  {awayTimeout / 2, true},
		"for too long": {2 * awayTimeout, false},
	} {
		t.Run(name, func(t *testing.T) {
			var back time.Time // set in the bubble, which has a time of its own
			store := &batchStore{before: func(context.Context) error {
				if time.Now().Before(back) {
					return fmt.Errorf("save: %w", database.ErrUnavailable)
				}
				return nil
			}}
			inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], _ func()) {
				back = time.Now().Add(test.away)
				for id, r := range answers(t.Context(), b, 4)() {
					if (r.err == nil) != test.saved || r.out != (test.saved && id%2 == 0) {
						t.Errorf("outcome %d: saved %t, error %v", id, r.out, r.err)
					}
				}
			})
		})
	}
}

// TestStopWhileTheStoreIsAway does not wait for it.
func TestStopWhileTheStoreIsAway(t *testing.T) {
	store := &batchStore{before: func(context.Context) error { return database.ErrUnavailable }}
	inBubble(t, store, func(t *testing.T, b *batcher[claim.Outcome, claim.Saved], stop func()) {
		all := answers(t.Context(), b, 3)
		started := time.Now()
		synctest.Wait()
		stop()
		for id, r := range all() {
			if r.err == nil {
				t.Errorf("outcome %d: saved in a store that is away", id)
			}
		}
		if got := time.Since(started); got > time.Second {
			t.Errorf("took %v", got)
		}
	})
}
