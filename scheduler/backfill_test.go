package scheduler

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/clock"
	"revalidator/internal/database"
	"revalidator/internal/runs"
	"revalidator/jobs"
)

// backfillStore is a fakeStore whose receipts are the items of a backfill.
// Claim and HasWork are for other runs and fail here.
type backfillStore struct {
	*fakeStore
	run    runs.Run
	filter runs.Filter
	lease  runs.Lease
	chosen int
}

var errOtherRun = errors.New("asked as for another kind of run")

func (s *backfillStore) OpenBackfill(_ context.Context, run runs.Run, f runs.Filter, owner runs.Lease, _ time.Time) (runs.Run, error) {
	run.ID = 9
	s.run, s.filter, s.lease = run, f, owner
	return run, nil
}

func (s *backfillStore) ResumeRun(_ context.Context, id int64, owner runs.Lease, deadline, _ time.Time) (runs.Run, error) {
	s.lease = owner
	if id != s.run.ID {
		return runs.Run{}, database.ErrNotFound
	}
	s.run.Deadline = deadline
	return s.run, nil
}

func (s *backfillStore) Claim(context.Context, claim.Request) ([]claim.Claim, error) {
	return nil, errOtherRun
}

func (s *backfillStore) HasWork(context.Context, runs.Run, time.Time) (bool, error) {
	return false, errOtherRun
}

func (s *backfillStore) ClaimItems(ctx context.Context, r claim.Request) ([]claim.Claim, error) {
	return s.fakeStore.Claim(ctx, r)
}

func (s *backfillStore) HasItems(ctx context.Context, run runs.Run) (bool, error) {
	return s.fakeStore.HasWork(ctx, run, time.Time{})
}

func (s *backfillStore) CountRun(context.Context, runs.Run, time.Time) error { return errOtherRun }

func (s *backfillStore) ChooseItems(context.Context, int64, time.Time) error {
	s.chosen++
	return nil
}

func (s *backfillStore) DropEmpty(context.Context, int64) (bool, error) {
	return len(s.receipts) == 0, nil
}

func (s *backfillStore) EndBackfill(ctx context.Context, run runs.Run, now time.Time) (bool, error) {
	return s.fakeStore.EndRun(ctx, run.ID, runs.Finished, now)
}

func TestBackfill(t *testing.T) {
	inBubble(t, 5, nil, func(t *testing.T, b bubble) {
		store := &backfillStore{fakeStore: b.store}
		b.cfg.Store = store
		filter := runs.Filter{BundleIDs: []string{"com.example.reader"}}
		opened, err := b.OpenBackfill(t.Context(), filter, 0.25, false)
		if err != nil {
			t.Fatal(err)
		}
		want := runs.Run{
			ID: 9, Kind: runs.Backfill, ScheduledFor: b.started, Cutoff: b.started,
			Deadline: b.started.Add(backfillWindow), Share: 0.25,
		}
		if diff := cmp.Diff(want, opened); diff != "" {
			t.Errorf("run (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(filter, store.filter); diff != "" {
			t.Errorf("filter (-want +got)\n%s", diff)
		}

		_ = clock.Sleep(t.Context(), time.Hour)
		want.Deadline = want.Deadline.Add(time.Hour)
		resumed, err := b.Resume(t.Context(), 9, runs.Backfill, false)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, resumed); diff != "" {
			t.Errorf("run that was resumed (-want +got)\n%s", diff)
		}
		if _, err := b.Resume(t.Context(), 8, runs.Backfill, false); !errors.Is(err, database.ErrNotFound) {
			t.Errorf("resume of no run: got %v, want %v", err, database.ErrNotFound)
		}

		totals, err := b.Feed(t.Context(), resumed)
		if err != nil {
			t.Fatal(err)
		}
		if totals.Done != 5 || b.store.requests[0].Share != 0.25 {
			t.Errorf("%d done with a share of %v, want 5 with a quarter", totals.Done, b.store.requests[0].Share)
		}
	})
}

// TestDetachedBackfill leaves it to be taken over at once.
func TestDetachedBackfill(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b bubble) {
		store := &backfillStore{fakeStore: b.store}
		b.cfg.Store = store
		for _, detached := range []bool{false, true} {
			want := runs.Lease{Owner: "test", Until: b.started.Add(b.cfg.Feed.OwnerLease)}
			if detached {
				want.Until = b.started
			}
			if _, err := b.OpenBackfill(t.Context(), runs.Filter{}, 1, detached); err != nil {
				t.Fatal(err)
			}
			got := store.lease
			if detached {
				got = b.store.leases[len(b.store.leases)-1] // it was given up again
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("lease after opening, detached %t (-want +got)\n%s", detached, diff)
			}
			if _, err := b.Resume(t.Context(), 9, runs.Backfill, detached); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, store.lease); diff != "" {
				t.Errorf("lease on resuming, detached %t (-want +got)\n%s", detached, diff)
			}
		}
	})
}

// TestClaimsGetTheirTasks stops a feed between the claim and its tasks: they go
// to the queue all the same, or nobody would come to them for a lease's time.
func TestClaimsGetTheirTasks(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		ctx, stop := context.WithCancel(t.Context())
		var ended error
		b.queue.work = func(ctx context.Context, _ []jobs.Verify) error {
			stop()
			ended = ctx.Err()
			return nil
		}
		if _, err := b.Feed(ctx, b.mustOpen(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("error: got %v, want %v", err, context.Canceled)
		}
		if len(b.queue.tasks) != 3 || ended != nil {
			t.Errorf("%d tasks, of which the last came to %v; want 3, and time for them", len(b.queue.tasks), ended)
		}
	})
}

// TestBackfillOfNothing is removed when it has chosen.
func TestBackfillOfNothing(t *testing.T) {
	inBubble(t, 0, nil, func(t *testing.T, b bubble) {
		store := &backfillStore{fakeStore: b.store}
		b.cfg.Store = store
		if _, err := b.OpenBackfill(t.Context(), runs.Filter{}, 1, false); !errors.Is(err, database.ErrNotFound) || store.chosen != 1 {
			t.Errorf("got %v after choosing %d times, want %v after one", err, store.chosen, database.ErrNotFound)
		}
	})
}
