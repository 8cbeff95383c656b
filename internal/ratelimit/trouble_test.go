package ratelimit

import (
	"context"
	"errors"
	"testing"
	"time"

	"revalidator/internal/devstack/redistest"
)

func TestBlockClosesTheBudget(t *testing.T) {
	t.Parallel()
	limiter := newLimiter(t, Config{Redis: connect(t, redistest.Start(t)), MaxWait: time.Hour})
	until := time.Now().Add(10 * time.Minute)
	// The second and third must change nothing.
	for _, block := range []time.Time{until, until.Add(-5 * time.Minute), {}} {
		if err := limiter.Block(t.Context(), key, block); err != nil {
			t.Fatal(err)
		}
	}
	r := Rate{PerSecond: 0.1, Burst: 1}
	slots := mustBook(t, limiter, key, r, 2)
	if slots[0] != until.UnixMicro() {
		t.Errorf("first slot at %v, want the end of the block %v", time.UnixMicro(slots[0]), until)
	}
	if got := slots[1] - slots[0]; got != 10_000_000 {
		t.Errorf("second slot is %d µs after the block, want 10000000", got)
	}
	_, wait, err := limiter.book(t.Context(), "com.example.other/Production", r)
	if err != nil || wait != 0 {
		t.Errorf("another budget waits %v, %v; want no wait", wait, err)
	}
}

func TestBlockLongerThanMaxWaitIsBusy(t *testing.T) {
	t.Parallel()
	limiter := newLimiter(t, Config{Redis: connect(t, redistest.Start(t)), MaxWait: time.Second})
	if err := limiter.Block(t.Context(), key, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, err := limiter.Wait(t.Context(), key, Rate{PerSecond: 100, Burst: 100})
	var busy *BusyError
	if !errors.As(err, &busy) || busy.RetryAfter < 30*time.Second {
		t.Errorf("got %v, want a BusyError of about a minute", err)
	}
}

func TestBlockOfLongAgoKeepsTheBudget(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	limiter := newLimiter(t, Config{Redis: client})
	r := Rate{PerSecond: 0.01, Burst: 1}
	mustBook(t, limiter, key, r, 1)
	if err := limiter.Block(t.Context(), key, time.Now().Add(-3*lifetime)); err != nil {
		t.Fatal(err)
	}
	// Another process, because this one would notice that the budget is gone.
	if _, _, err := newLimiter(t, Config{Redis: client}).book(t.Context(), key, r); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
}

func TestBlockReachesTheSleepers(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	var (
		limiter *Limiter
		until   = time.Now().Add(30 * time.Minute)
		slept   []time.Duration
	)
	limiter = newLimiter(t, Config{Redis: client, MaxWait: time.Hour,
		Sleep: func(ctx context.Context, d time.Duration) error {
			slept = append(slept, d)
			return limiter.Block(ctx, key, until) // a 429 arrives while we sleep
		}})
	r := Rate{PerSecond: 0.1, Burst: 1}
	mustBook(t, limiter, key, r, 1)
	if _, err := limiter.Wait(t.Context(), key, r); err != nil {
		t.Fatal(err)
	}
	if len(slept) != 2 || slept[1] < 29*time.Minute {
		t.Errorf("slept %v, want a second sleep until the end of the block", slept)
	}
}

// An emptied Redis has forgotten slots that are still to come. Whoever met the
// budget before must not hand out as many again.
func TestEmptiedRedisKeepsTheRate(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	client := connect(t, url)
	limiter := newLimiter(t, Config{Redis: client, MaxWait: 10 * time.Second})
	r := Rate{PerSecond: 2, Burst: 5}
	slots := mustBook(t, limiter, key, r, 20)
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := limiter.book(t.Context(), key, r); !errors.Is(err, ErrBusy) {
		t.Fatalf("first booking after the emptying: got %v, want ErrBusy", err)
	}
	// A process that starts now has a longer patience here, to see the slots.
	patient := newLimiter(t, Config{Redis: client, MaxWait: time.Minute})
	checkWindows(t, append(slots, mustBook(t, patient, key, r, 20)...), r)
}

func TestClockThatJumpedBackHeals(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	limiter := newLimiter(t, Config{Redis: client, MaxWait: 20 * time.Millisecond})
	r := Rate{PerSecond: 100, Burst: 1}
	mustBook(t, limiter, key, r, 1)
	future := time.Now().Add(time.Hour).UnixMicro()
	if err := client.HSet(t.Context(), redisKey(key), "slot", future).Err(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	_, err := limiter.Wait(t.Context(), key, r)
	if !errors.Is(err, ErrBusy) {
		t.Fatalf("right after the jump: got %v, want ErrBusy", err)
	}
	for err != nil && time.Now().Before(deadline) {
		_, err = limiter.Wait(t.Context(), key, r)
	}
	if err != nil {
		t.Errorf("a minute after the jump: %v", err)
	}
}

func TestBudgetsDoNotPileUp(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	limiter := newLimiter(t, Config{Redis: client})
	mustBook(t, limiter, "booked", Rate{1, 1}, 1)
	if err := limiter.Block(t.Context(), "blocked", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for name, longest := range map[string]time.Duration{"booked": lifetime, "blocked": lifetime + time.Hour} {
		left, err := client.PTTL(t.Context(), redisKey(name)).Result()
		if err != nil || left > longest+time.Second || left < longest-time.Minute {
			t.Errorf("%s budget lives %v, %v; want about %v", name, left, err, longest)
		}
	}
}

func TestRedisDownFailsClosed(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	limiter := newLimiter(t, Config{Redis: client, MaxWait: time.Second})
	if err := client.ShutdownNoSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := limiter.Wait(t.Context(), key, Rate{10, 10}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Wait: got %v, want ErrUnavailable", err)
	}
	if err := limiter.Block(t.Context(), key, time.Now().Add(time.Hour)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Block: got %v, want ErrUnavailable", err)
	}
}

// TestEmptiedRedisWakesTheSleepers holds whoever slept while Redis was emptied
// to not asking: with the queue went the claim.
func TestEmptiedRedisWakesTheSleepers(t *testing.T) {
	t.Parallel()
	r := Rate{PerSecond: 0.1, Burst: 1}
	for name, meanwhile := range map[string]func(context.Context, *Limiter) error{
		"and nobody has booked since": func(context.Context, *Limiter) error { return nil },
		"and others have booked since": func(ctx context.Context, other *Limiter) error {
			_, _, err := other.book(ctx, key, r)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, redistest.Start(t))
			other := newLimiter(t, Config{Redis: client, MaxWait: time.Hour})
			limiter := newLimiter(t, Config{Redis: client, MaxWait: time.Hour,
				Sleep: func(ctx context.Context, _ time.Duration) error {
					if err := client.FlushAll(ctx).Err(); err != nil {
						return err
					}
					return meanwhile(ctx, other)
				}})
			mustBook(t, limiter, key, r, 1)
			if _, err := limiter.Wait(t.Context(), key, r); !errors.Is(err, ErrForgotten) {
				t.Errorf("got %v, want %v", err, ErrForgotten)
			}
		})
	}
}
