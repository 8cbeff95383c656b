package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack/redistest"
)

func TestBlockClosesTheBudget(t *testing.T) {
	t.Parallel()
	limiter := newLimiter(t, Config{Redis: connect(t, redistest.Start(t)), MaxWait: time.Hour})
	begun := time.Now()
	// The second and third must change nothing.
	for _, block := range []time.Duration{10 * time.Minute, 5 * time.Minute, -time.Hour} {
		if err := limiter.Block(t.Context(), key, block); err != nil {
			t.Fatal(err)
		}
	}
	r := Rate{PerSecond: 0.1, Burst: 1}
	slots := mustBook(t, limiter, key, r, 2)
	if got := time.UnixMicro(slots[0]).Sub(begun); got < 10*time.Minute || got > 11*time.Minute {
		t.Errorf("first slot in %v, want one in 10 minutes", got)
	}
	if got := slots[1] - slots[0]; got != 10_000_000 {
		t.Errorf("second slot is %d µs after the block, want 10000000", got)
	}
	b, err := limiter.book(t.Context(), line{key: "com.example.other/Production", rate: r})
	if err != nil || b.wait != 0 {
		t.Errorf("another budget waits %v, %v; want no wait", b.wait, err)
	}
}

// TestBlockForDecades is believed for a day, and said.
func TestBlockForDecades(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	limiter := newLimiter(t, Config{Redis: client, MaxWait: time.Second})
	blocked := func() {
		t.Helper()
		_, err := limiter.Wait(t.Context(), key, Rate{PerSecond: 100, Burst: 100})
		var busy *BusyError
		if !errors.As(err, &busy) || busy.RetryAfter > 24*time.Hour || busy.BlockedUntil.IsZero() {
			t.Errorf("got %v, want a BusyError of a day at most that tells of the block", err)
		}
		states, err := limiter.Impaired(t.Context())
		if err != nil || len(states) != 1 || time.Until(states[0].BlockedUntil) > 24*time.Hour || time.Until(states[0].BlockedUntil) < 23*time.Hour {
			t.Errorf("states %+v, %v; want one that is blocked for a day", states, err)
		}
		shares, err := limiter.Shares(t.Context())
		if share, limited := shares[key]; err != nil || !limited || share != 0 {
			t.Errorf("shares %v, %v; want none of %s", shares, err, key)
		}
	}
	until := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := limiter.Block(t.Context(), key, time.Until(until)); err != nil {
		t.Fatal(err)
	}
	blocked()
	// The same, written by somebody else.
	limits := fmt.Sprintf("0 %d 0 1000000 0", until.UnixMicro())
	if err := client.HSet(t.Context(), limitsKey("Production"), "com.example.app", limits).Err(); err != nil {
		t.Fatal(err)
	}
	blocked()
	blocked()
}

func TestBlockLongerThanMaxWaitIsBusy(t *testing.T) {
	t.Parallel()
	limiter := newLimiter(t, Config{Redis: connect(t, redistest.Start(t)), MaxWait: time.Second})
	if err := limiter.Block(t.Context(), key, time.Minute); err != nil {
		t.Fatal(err)
	}
	_, err := limiter.Wait(t.Context(), key, Rate{PerSecond: 100, Burst: 100})
	var busy *BusyError
	if !errors.As(err, &busy) || busy.RetryAfter < 30*time.Second {
		t.Errorf("got %v, want a BusyError of about a minute", err)
	}
}

func TestBlockReachesTheSleepers(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	var (
		limiter *Limiter
		slept   []time.Duration
	)
	limiter = newLimiter(t, Config{Redis: client, MaxWait: time.Hour,
		Sleep: func(ctx context.Context, d time.Duration) error {
			if slept = append(slept, d); len(slept) > 1 {
				return nil
			}
			return limiter.Block(ctx, key, 30*time.Minute) // a 429 arrives while we sleep
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

// An emptied Redis has forgotten slots that are still to come, and so has one that
// was restored from an earlier state; where its clock was set back, they are far
// away. Whoever sleeps for one of them must book another, or they come on top of
// those that are booked from then on.
func TestLostSlotsAreNotUsed(t *testing.T) {
	t.Parallel()
	r := Rate{PerSecond: 2, Burst: 5}
	for name, lose := range map[string]func(*testing.T, *redis.Client, string){
		"emptied": func(t *testing.T, client *redis.Client, _ string) {
			if err := client.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		},
		"evicted": func(t *testing.T, client *redis.Client, _ string) {
			if err := client.Del(t.Context(), parse(key).key()).Err(); err != nil {
				t.Fatal(err)
			}
		},
		"restored": func(t *testing.T, client *redis.Client, before string) {
			if err := client.RestoreReplace(t.Context(), parse(key).key(), time.Hour, before).Err(); err != nil {
				t.Fatal(err)
			}
		},
		"the clock set back": func(t *testing.T, client *redis.Client, _ string) {
			if err := client.HIncrBy(t.Context(), parse(key).key(), "slot", time.Hour.Microseconds()).Err(); err != nil {
				t.Fatal(err)
			}
		},
		"not numbers": func(t *testing.T, client *redis.Client, _ string) {
			if err := client.HSet(t.Context(), parse(key).key(), "slot", "nan", "tokens", "inf").Err(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t, redistest.Start(t))
			limiter := newLimiter(t, Config{Redis: client, MaxWait: time.Minute})
			mustBook(t, limiter, key, r, 5)
			before, err := client.Dump(t.Context(), parse(key).key()).Result()
			if err != nil {
				t.Fatal(err)
			}
			var sleepers []booking
			for range 20 {
				b, err := limiter.book(t.Context(), line{key: key, rate: r})
				if err != nil {
					t.Fatal(err)
				}
				sleepers = append(sleepers, b)
			}
			lose(t, client, before)
			slots := mustBook(t, limiter, key, r, 20)
			if first := time.Until(time.UnixMicro(slots[0])); first > time.Second {
				t.Errorf("the first slot after that is in %v, want within a second", first)
			}
			// Of those that were used before, all of what was saved up is gone.
			checkWindows(t, slots, Rate{PerSecond: r.PerSecond, Burst: 1})
			for i, b := range sleepers {
				b.wait = time.Nanosecond
				if stands, err := limiter.await(t.Context(), key, b); stands || !errors.Is(err, ErrForgotten) {
					t.Fatalf("sleeper %d: %t and %v, want %v", i, stands, err, ErrForgotten)
				}
			}
		})
	}
}

// TestPassedSlotsAreNotUsed has a process stand still, or its machine, while some
// sleep for their slots.
func TestPassedSlotsAreNotUsed(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	var (
		mu     sync.Mutex
		now    = time.Now()
		asleep atomic.Int64
		wake   = make(chan struct{})
	)
	limiter := newLimiter(t, Config{
		Redis: client, MaxWait: time.Hour,
		Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Sleep: func(context.Context, time.Duration) error {
			asleep.Add(1)
			<-wake
			return nil
		},
	})
	r := Rate{PerSecond: 20, Burst: 1}
	const n = 100
	var sent, late atomic.Int64
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			switch _, err := limiter.Wait(t.Context(), key, r); {
			case err == nil:
				sent.Add(1)
			case errors.Is(err, ErrLate):
				late.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	until(t, func() bool { return asleep.Load() == n-1 })
	mu.Lock()
	now = now.Add(20 * time.Second)
	mu.Unlock()
	close(wake)
	group.Wait()
	if sent.Load() > 1 || late.Load() != n-1 {
		t.Errorf("%d calls and %d late, want one call, which had its slot at once", sent.Load(), late.Load())
	}
}

// TestLateByTheClockOfRedis is for a machine that was frozen with its clock.
func TestLateByTheClockOfRedis(t *testing.T) {
	t.Parallel()
	limiter := newLimiter(t, Config{Redis: connect(t, redistest.Start(t)), MaxWait: time.Hour})
	b, err := limiter.book(t.Context(), line{key: key, rate: fast})
	if err != nil {
		t.Fatal(err)
	}
	b.wait = time.Nanosecond
	if stands, err := limiter.await(t.Context(), key, b); !stands {
		t.Fatalf("in time: %v, want that it stands", err)
	}
	b.slot.at -= 2 * time.Second.Microseconds()
	if stands, err := limiter.await(t.Context(), key, b); stands || !errors.Is(err, ErrLate) {
		t.Errorf("2 s late: %t and %v, want %v", stands, err, ErrLate)
	}
	// Also where it would have to book again: whoever waits has to hear of it.
	if _, err := limiter.Report(t.Context(), key, b.slot, Limited, "rate_limited"); err != nil {
		t.Fatal(err)
	}
	if stands, err := limiter.await(t.Context(), key, b); stands || !errors.Is(err, ErrLate) {
		t.Errorf("2 s late, and the line was broken up: %t and %v, want %v", stands, err, ErrLate)
	}
	b.wait, b.sent = 0, b.sent.Add(-2*time.Second)
	if stands, err := limiter.await(t.Context(), key, b); stands || !errors.Is(err, ErrLate) {
		t.Errorf("a booking that came 2 s late: %t and %v, want %v", stands, err, ErrLate)
	}
}

// TestKeysOfOthers has somebody else write to the keys.
func TestKeysOfOthers(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	b := bench{newLimiter(t, Config{Redis: client, MaxWait: time.Hour}), t, client}
	set := func(name string) {
		t.Helper()
		if err := client.Set(t.Context(), name, "something else", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set(parse(key).key())
	if _, err := b.Wait(t.Context(), key, fast); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("Wait: %v, want what to do", err)
	}
	if err := client.Del(t.Context(), parse(key).key()).Err(); err != nil {
		t.Fatal(err)
	}
	b.hear(1, Limited)
	set(healthKey("Production"))
	states, err := b.Impaired(t.Context())
	if err != nil || len(states) != 1 || !states[0].Odd {
		t.Errorf("states %+v, %v; want that it is odd", states, err)
	}
	b.hear(20, Distress) // which writes it again
	if s := b.look(); !s.Open {
		t.Errorf("state %+v, want open", s)
	}
	b.refusal()
	if err := client.HSet(t.Context(), healthKey("Production"), "health", "{nothing").Err(); err != nil {
		t.Fatal(err)
	}
	if states, err := b.Impaired(t.Context()); err != nil || len(states) != 1 || !states[0].Odd {
		t.Errorf("states %+v, %v; want that it is odd", states, err)
	}
	if v := b.hear(1, Limited); !v.Halved {
		t.Errorf("verdict %+v, want what is known from now on", v)
	}
}

// TestOpenInTheFuture has the clock of Redis set back while a breaker is open.
func TestOpenInTheFuture(t *testing.T) {
	b := newBench(t)
	b.hear(20, Distress)
	b.age(-24 * time.Hour)
	if got := b.refusal().RetryAfter; got > 10*time.Minute {
		t.Errorf("retry after %v, want 10 min at most", got)
	}
	b.age(10*time.Minute + time.Second)
	if !b.mustWait().IsProbe() {
		t.Error("no probe 10 minutes later")
	}
}

func TestBudgetsDoNotPileUp(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Start(t))
	limiter := newLimiter(t, Config{Redis: client})
	mustBook(t, limiter, key, Rate{1, 1}, 1)
	if err := limiter.Block(t.Context(), key, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{parse(key).key(), healthKey("Production"), limitsKey("Production")} {
		left, err := client.PTTL(t.Context(), name).Result()
		if err != nil || left > lifetime || left < lifetime-time.Minute {
			t.Errorf("%s lives %v, %v; want about %v", name, left, err, lifetime)
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
	if err := limiter.Block(t.Context(), key, time.Hour); !errors.Is(err, ErrUnavailable) {
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
			_, err := other.book(ctx, line{key: key, rate: r})
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

// TestTroubleOfAnotherSizeLosesNoSlot breaks the line of an app up, which all sizes
// share, because requests of one size are refused: who sleeps for a slot of another
// size books again, and is not told that Redis lost it.
func TestTroubleOfAnotherSizeLosesNoSlot(t *testing.T) {
	t.Parallel()
	limiter := newLimiter(t, Config{Redis: connect(t, redistest.Start(t)), MaxWait: time.Minute})
	const large, small = key + "/64 to 128 KiB", key + "/up to 8 KiB"
	r := Rate{PerSecond: 2, Burst: 1}
	mustBook(t, limiter, large, r, 1)
	sleeper, err := limiter.book(t.Context(), line{key: small, rate: r})
	if err != nil {
		t.Fatal(err)
	}
	for opened := false; !opened; {
		said, err := limiter.Report(t.Context(), large, Slot{}, Oversized, "proxy_refused_size")
		if err != nil {
			t.Fatal(err)
		}
		opened = said.Opened
	}
	if _, err := limiter.book(t.Context(), line{key: large, rate: r}); !errors.Is(err, ErrOpen) {
		t.Fatalf("the large size: got %v, want %v", err, ErrOpen)
	}
	sleeper.wait = time.Nanosecond
	if stands, err := limiter.await(t.Context(), small, sleeper); stands || err != nil {
		t.Errorf("the small size: %t and %v, want to book again", stands, err)
	}
}
