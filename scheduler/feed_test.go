package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"revalidator/internal/apps"
	"revalidator/internal/claim"
	"revalidator/internal/clock"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/jobs"
)

var errAway = errors.New("server is away")

func TestFeedDoesARun(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		if totals := b.mustFeed(t); totals.Counted() != 3 || totals.Done != 3 {
			t.Errorf("totals: %+v, want 3 due and done", totals)
		}
		want := []string{"claim 1:1", "claim 2:1", "claim 3:1", "enqueue 1:1", "enqueue 2:1", "enqueue 3:1"}
		if diff := gocmp.Diff(want, b.store.steps); diff != "" {
			t.Errorf("claims must be there before their tasks (-want +got)\n%s", diff)
		}
		if diff := gocmp.Diff([]runs.State{runs.Finished}, b.store.ended); diff != "" {
			t.Errorf("ends of the run (-want +got)\n%s", diff)
		}
		if got := b.elapsed(); got != b.cfg.Feed.Tick {
			t.Errorf("took %v, want one tick", got)
		}
		if diff := gocmp.Diff([]string{"run finished"}, b.log.at(slog.LevelInfo)); diff != "" {
			t.Errorf("log (-want +got)\n%s", diff)
		}
	})
}

func TestEmptyRunEndsAtOnce(t *testing.T) {
	inBubble(t, 0, nil, func(t *testing.T, b bubble) {
		b.mustFeed(t)
		if got := b.elapsed(); got != 0 || len(b.store.ended) != 1 {
			t.Errorf("took %v and ended %v, want no time and one end", got, b.store.ended)
		}
	})
}

// TestRequests compares what a run asks of the store with its configuration.
func TestRequests(t *testing.T) {
	feed := FeedConfig{Ahead: 2 * time.Minute, Depth: 7, ClaimLease: time.Hour, OwnerLease: 10 * time.Second, LargeBytes: 1000}
	change := func(c *Config) { c.Feed, c.Window = feed, 6*time.Hour }
	inBubble(t, 0, change, func(t *testing.T, b bubble) {
		b.store.receipts = []int64{999, 1000, 5 << 20}
		b.queue.work = func(ctx context.Context, tasks []jobs.Verify) error {
			b.store.release(func(time.Time) bool { return true }) // no worker held them
			b.store.receipts = nil
			return nil
		}
		run := b.mustOpen(t)
		wantRun := runs.Run{
			ID: 1, Kind: runs.Manual, ScheduledFor: b.started, Cutoff: b.started, Deadline: b.started.Add(6 * time.Hour),
		}
		if diff := gocmp.Diff(wantRun, run); diff != "" {
			t.Errorf("run (-want +got)\n%s", diff)
		}
		if _, err := b.Feed(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		first := b.store.requests[0]
		want := claim.Request{
			RunID: 1, Owner: "test", Cutoff: b.started, Now: b.started, Due: b.started, Until: b.started.Add(time.Hour), Ahead: 2 * time.Minute, Limit: 7, Held: claim.Held{}, Since: map[string]time.Time{},
		}
		if diff := gocmp.Diff(want, first); diff != "" {
			t.Errorf("claim (-want +got)\n%s", diff)
		}
		wantTasks := []jobs.Verify{
			{ReceiptID: 1, Generation: 1, RunID: 1, BundleID: "com.example.reader"},
			{ReceiptID: 2, Generation: 1, RunID: 1, BundleID: "com.example.reader", Large: true},
			{ReceiptID: 3, Generation: 1, RunID: 1, BundleID: "com.example.reader", Large: true, Allowance: claim.Allowance(5 << 20)},
		}
		if diff := gocmp.Diff(wantTasks, b.queue.tasks); diff != "" {
			t.Errorf("tasks (-want +got)\n%s", diff)
		}
		wantLease := runs.Lease{Owner: "test", Until: b.started.Add(10 * time.Second)}
		if diff := gocmp.Diff([]runs.Lease{wantLease, wantLease}, b.store.leases[:2]); diff != "" {
			t.Errorf("leases on opening and keeping the run (-want +got)\n%s", diff)
		}
	})
}

// budgets are the ones that are not as configured, or an error in their place.
type budgets struct {
	shares map[string]float64
	err    error
}

func (b budgets) Shares(context.Context) (map[string]float64, error) { return b.shares, b.err }

// TestSharesAreHandedOn to the store, which knows the rates.
func TestSharesAreHandedOn(t *testing.T) {
	shares := map[string]float64{"com.example.reader/verify_receipt:Production": 0.25, "com.example.reader/verify_receipt:Sandbox": 0}
	inBubble(t, 1, func(c *Config) { c.Budgets = budgets{shares: shares} }, func(t *testing.T, b bubble) {
		b.mustFeed(t)
		if diff := gocmp.Diff(shares, b.store.requests[0].Shares); diff != "" {
			t.Errorf("shares (-want +got)\n%s", diff)
		}
	})
}

// TestNothingIsClaimedWhileAllAreHeldBack: what is claimed would only be released.
func TestNothingIsClaimedWhileAllAreHeldBack(t *testing.T) {
	held := budgets{shares: map[string]float64{apps.AllApps(apps.SourceVerifyReceipt, iap.Production).String(): 0}}
	change := func(c *Config) { c.Budgets, c.Window = held, time.Minute }
	inBubble(t, 1, change, func(t *testing.T, b bubble) {
		b.mustFeed(t)
		if len(b.store.requests) > 0 {
			t.Errorf("%d claims, want none", len(b.store.requests))
		}
	})
}

// TestNothingIsClaimedWhereSharesAreNotKnown: claims might come back at once.
func TestNothingIsClaimedWhereSharesAreNotKnown(t *testing.T) {
	change := func(c *Config) { c.Budgets, c.Window = budgets{err: errAway}, time.Minute }
	inBubble(t, 1, change, func(t *testing.T, b bubble) {
		b.mustFeed(t)
		if len(b.store.requests) > 0 {
			t.Errorf("%d claims, want none", len(b.store.requests))
		}
	})
}

func TestDeadlineEndsARun(t *testing.T) {
	inBubble(t, 5, func(c *Config) { c.Window = time.Hour }, func(t *testing.T, b bubble) {
		b.queue.work = nil
		if totals := b.mustFeed(t); totals.Done != 0 {
			t.Errorf("totals: %+v, want none done", totals)
		}
		if got := b.elapsed(); got != time.Hour {
			t.Errorf("took %v, want the window of an hour", got)
		}
		if diff := gocmp.Diff([]runs.State{runs.CutOff}, b.store.ended); diff != "" {
			t.Errorf("ends of the run (-want +got)\n%s", diff)
		}
	})
}

func TestOwnerKeepsItsLease(t *testing.T) {
	inBubble(t, 1, func(c *Config) { c.Window = time.Minute }, func(t *testing.T, b bubble) {
		b.queue.work = nil
		b.mustFeed(t)
		end := b.started
		for _, lease := range b.store.leases {
			if !lease.Until.After(end) && lease.Until != b.store.leases[0].Until {
				t.Fatalf("lease until %v after one until %v", lease.Until, end)
			}
			end = lease.Until
		}
		// On opening, and every 10 s of the minute; at its end or not.
		if n, want := len(b.store.leases), b.started.Add(50*time.Second+b.cfg.Feed.OwnerLease); end.Before(want) || n < 7 || n > 8 {
			t.Errorf("%d leases, the last until %v; want 7, and %v", n, end, want)
		}
	})
}

// TestLostRunIsLeftAlone has another scheduler take the run over, or a person
// cancel it.
func TestLostRunIsLeftAlone(t *testing.T) {
	inBubble(t, 10, func(c *Config) { c.Feed.Depth = 1 }, func(t *testing.T, b bubble) {
		b.queue.work = func(ctx context.Context, tasks []jobs.Verify) error {
			b.store.lose(len(b.queue.tasks) == 3)
			return b.queue.atOnce(ctx, tasks)
		}
		if _, err := b.Feed(t.Context(), b.mustOpen(t)); !errors.Is(err, runs.ErrLost) {
			t.Errorf("error: got %v, want %v", err, runs.ErrLost)
		}
		if len(b.queue.tasks) != 3 || b.store.ended != nil {
			t.Errorf("%d tasks, ends %v; want no claim and no end after the loss", len(b.queue.tasks), b.store.ended)
		}
	})
}

// TestFeedOutlivesFaults lets each thing that a feed needs fail three times in
// the middle of a run.
func TestFeedOutlivesFaults(t *testing.T) {
	for _, method := range []string{"KeepRun", "CountRun", "Epoch", "FollowEpoch", "ReleaseExpired", "ClaimedCount", "Claim", "HasWork"} {
		t.Run(method, func(t *testing.T) {
			// Long enough for all of them to be called four times.
			inBubble(t, 40, func(c *Config) { c.Feed.Depth, c.Feed.OwnerLease = 1, 3*time.Second }, func(t *testing.T, b bubble) {
				calls := 0
				b.store.fail = func(called string) error {
					if called != method {
						return nil
					}
					if calls++; calls > 3 {
						return nil
					}
					return fmt.Errorf("%s: %w", called, errAway)
				}
				if totals := b.mustFeed(t); totals.Done != 40 {
					t.Errorf("totals: %+v, want 40 done", totals)
				}
				said := cmp.Or(map[string]string{"KeepRun": "keep the run", "CountRun": "count what is due"}[method], "feed the queue")
				if diff := gocmp.Diff(slices.Repeat([]string{said}, 3), b.log.at(slog.LevelError)); diff != "" {
					t.Errorf("errors logged (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestEndThatFailsIsAnError(t *testing.T) {
	for _, method := range []string{"EndRun", "RunTotals"} {
		t.Run(method, func(t *testing.T) {
			inBubble(t, 1, nil, func(t *testing.T, b bubble) {
				b.store.fail = func(called string) error {
					if called == method {
						return errAway
					}
					return nil
				}
				if _, err := b.Feed(t.Context(), b.mustOpen(t)); !errors.Is(err, errAway) {
					t.Errorf("error: got %v, want %v", err, errAway)
				}
			})
		})
	}
}

// TestEnqueueErrorCostsALease loses the tasks of a first claim: they come again
// when it has run out, under the next generation.
func TestEnqueueErrorCostsALease(t *testing.T) {
	inBubble(t, 2, func(c *Config) { c.Feed.ClaimLease = time.Minute }, func(t *testing.T, b bubble) {
		b.queue.work = func(ctx context.Context, tasks []jobs.Verify) error {
			if tasks[0].Generation == 1 {
				return errAway
			}
			return b.queue.atOnce(ctx, tasks)
		}
		if totals := b.mustFeed(t); totals.Done != 2 {
			t.Errorf("totals: %+v, want 2 done", totals)
		}
		want := []string{
			"claim 1:1", "claim 2:1", "enqueue 1:1", "enqueue 2:1",
			"claim 1:2", "claim 2:2", "enqueue 1:2", "enqueue 2:2",
		}
		if diff := gocmp.Diff(want, b.store.steps); diff != "" {
			t.Errorf("steps (-want +got)\n%s", diff)
		}
		if got := b.elapsed(); got < time.Minute || got > time.Minute+b.cfg.Feed.Tidy+2*b.cfg.Feed.Tick {
			t.Errorf("took %v, want the lease of a minute", got)
		}
		if diff := gocmp.Diff([]string{"feed the queue"}, b.log.at(slog.LevelError)); diff != "" {
			t.Errorf("errors logged (-want +got)\n%s", diff)
		}
		if diff := gocmp.Diff([]string{"claims ran out"}, b.log.at(slog.LevelWarn)); diff != "" {
			t.Errorf("warnings logged (-want +got)\n%s", diff)
		}
	})
}

// TestNewEpochReleasesClaims empties the queue in the middle of a run.
func TestNewEpochReleasesClaims(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		b.queue.work = func(ctx context.Context, tasks []jobs.Verify) error {
			if tasks[0].Generation == 1 {
				b.queue.epoch = "second"
				return nil
			}
			return b.queue.atOnce(ctx, tasks)
		}
		b.mustFeed(t)
		if got := b.elapsed(); got > 2*b.cfg.Feed.Tick {
			t.Errorf("took %v, want two rounds: nobody waits for a lease, or claims more under the epoch that is gone", got)
		}
		if diff := gocmp.Diff([]string{"queue was emptied or replaced: claims released"}, b.log.at(slog.LevelWarn)); diff != "" {
			t.Errorf("warnings logged (-want +got)\n%s", diff)
		}
	})
}

// TestClaimsNeverExceedTheDepth has a worker that does a task per second.
func TestClaimsNeverExceedTheDepth(t *testing.T) {
	inBubble(t, 100, func(c *Config) { c.Feed.Depth = 8 }, func(t *testing.T, b bubble) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		b.queue.work = nil
		go func() {
			for done := 0; ctx.Err() == nil; {
				_ = clock.Sleep(ctx, time.Second)
				b.queue.mu.Lock()
				if done < len(b.queue.tasks) {
					b.store.finish(b.queue.tasks[done])
					done++
				}
				b.queue.mu.Unlock()
			}
		}()
		b.mustFeed(t)
		if b.store.most != 8 {
			t.Errorf("%d claims at a time, want the depth of 8", b.store.most)
		}
		if got := b.elapsed().Round(time.Second); got != 100*time.Second {
			t.Errorf("took %v, want 100 s: the worker was never without a task", got)
		}
	})
}

func TestFeedLeavesTheRunWhenItIsStopped(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b bubble) {
		b.queue.work = nil
		ctx, stop := context.WithCancel(t.Context())
		run := b.mustOpen(t)
		ended := make(chan error, 1)
		go func() {
			_, err := b.Feed(ctx, run)
			ended <- err
		}()
		synctest.Wait()
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error: got %v, want %v", err, context.Canceled)
		}
		if b.store.ended != nil || b.log.at(slog.LevelError) != nil {
			t.Errorf("ends %v, errors %v; want the run left to the next, without a word", b.store.ended, b.log.at(slog.LevelError))
		}
	})
}

// TestNoCallLastsForEver has every call of a scheduler that opens a run, feeds it,
// loses it and follows it to its end.
func TestNoCallLastsForEver(t *testing.T) {
	inBubble(t, 20, nightly(t), func(t *testing.T, b bubble) {
		b.runFor(t, time.Minute)
		run := b.mustOpen(t)
		if _, err := b.Feed(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Follow(t.Context(), run.ID); err != nil {
			t.Fatal(err)
		}
		if b.store.unbounded != nil || b.queue.unbounded != nil {
			t.Errorf("calls without a deadline: %v, %v", b.store.unbounded, b.queue.unbounded)
		}
	})
}

// TestRunDoesNotWaitForItsCount feeds a run while what is due is counted, and does
// not end it before that is known.
func TestRunDoesNotWaitForItsCount(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		b.store.counting = make(chan struct{})
		run, ended := b.mustOpen(t), make(chan error, 1)
		go func() {
			_, err := b.Feed(t.Context(), run)
			ended <- err
		}()
		_ = clock.Sleep(t.Context(), time.Hour)
		synctest.Wait()
		if len(b.store.done) != 3 || b.store.ended != nil {
			t.Errorf("%d done and ends %v after an hour of counting, want all 3 and none", len(b.store.done), b.store.ended)
		}
		if got, want := len(b.store.leases), 360; got < want {
			t.Errorf("the lease was renewed %d times in this hour, want %d", got, want)
		}
		close(b.store.counting)
		if err := <-ended; err != nil || len(b.store.ended) != 1 {
			t.Errorf("got %v and ends %v, want one end", err, b.store.ended)
		}
	})
}

// TestKeeperHearsOfALoss has a run taken over while nothing of it is claimed, so that
// only who renews the lease hears of it: the feed ends by the next renewal.
func TestKeeperHearsOfALoss(t *testing.T) {
	inBubble(t, 0, nil, func(t *testing.T, b bubble) {
		b.store.counting = make(chan struct{}) // the run does not end before
		b.store.taken = true
		_, err := b.Feed(t.Context(), b.mustOpen(t))
		if !errors.Is(err, runs.ErrLost) || b.elapsed() > b.cfg.Feed.OwnerLease/3+roundTimeout {
			t.Errorf("got %v after %v, want ErrLostRun within a renewal", err, b.elapsed())
		}
		if b.store.ended != nil {
			t.Errorf("it ended the run as %v, which is another's", b.store.ended)
		}
	})
}

// TestPagesOfARoundGoOn where the one before ended, and the next round begins with
// the oldest again, which may have been released meanwhile.
func TestPagesOfARoundGoOn(t *testing.T) {
	inBubble(t, 3*pageSize, func(c *Config) { c.Feed.Depth = 2 * pageSize }, func(t *testing.T, b bubble) {
		b.mustFeed(t)
		var got []map[string]time.Time
		for _, r := range b.store.requests[:3] {
			got = append(got, r.Since)
		}
		want := []map[string]time.Time{{}, {"com.example.reader": dueAt(pageSize)}, {}}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("from when on receipts are claimed (-want +got)\n%s", diff)
		}
	})
}

// TestTidiesEverySecond, however often the queue is filled.
func TestTidiesEverySecond(t *testing.T) {
	inBubble(t, 1, func(c *Config) { c.Window = time.Minute }, func(t *testing.T, b bubble) {
		b.queue.work = nil
		tidied := 0
		b.store.fail = func(called string) error {
			if called == "ReleaseExpired" {
				tidied++
			}
			return nil
		}
		b.mustFeed(t)
		if tidied != 60 {
			t.Errorf("tidied %d times in a minute, want 60", tidied)
		}
	})
}

// TestFollowTakesOver follows a run that another process feeds, until that is gone.
func TestFollowTakesOver(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		b.store.ownerUntil = b.started.Add(time.Minute)
		totals, err := b.Follow(t.Context(), 4)
		if err != nil || totals.State != runs.Finished || totals.Done != 3 {
			t.Errorf("got %+v, %v; want it finished with 3 done", totals, err)
		}
		if gocmp.Diff([]int64{4}, b.store.resumed) != "" || b.elapsed() < time.Minute || b.elapsed() > time.Minute+3*time.Second {
			t.Errorf("took over %v after %v, want run 4 when its lease had ended", b.store.resumed, b.elapsed())
		}
	})
}

// TestFollowOutlivesALoss has a run taken over by others while it is fed here.
func TestFollowOutlivesALoss(t *testing.T) {
	inBubble(t, 3, nil, func(t *testing.T, b bubble) {
		b.store.ownerUntil = b.started.Add(time.Second)
		b.queue.work = func(ctx context.Context, tasks []jobs.Verify) error {
			if tasks[0].Generation == 1 {
				b.store.lose(true)
				_, err := b.store.FollowEpoch(ctx, func(context.Context) (string, error) { return "another", nil })
				return err
			}
			return b.queue.atOnce(ctx, tasks)
		}
		totals, err := b.Follow(t.Context(), 4)
		if err != nil || totals.State != runs.Finished || totals.Done != 3 {
			t.Errorf("got %+v, %v; want it finished with 3 done", totals, err)
		}
		if len(b.store.resumed) != 2 {
			t.Errorf("taken over %d times, want twice", len(b.store.resumed))
		}
	})
}
