package ratelimit

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"revalidator/internal/dev/devstack/redistest"
)

const key = "com.example.app/Production"

func connect(t *testing.T, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newLimiter(t *testing.T, c Config) *Limiter {
	t.Helper()
	limiter, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return limiter
}

// mustBook returns the next n slots, in UNIX microseconds.
func mustBook(t *testing.T, l *Limiter, key string, r Rate, n int) []int64 {
	t.Helper()
	slots := make([]int64, n)
	for i := range slots {
		booked, err := l.book(t.Context(), line{key: key, rate: r})
		if err != nil {
			t.Fatalf("book slot %d: %v", i, err)
		}
		slots[i] = booked.slot.at
	}
	return slots
}

// checkWindows compares every window that begins and ends with a slot against
// the promise of Rate: no shorter window can be worse.
func checkWindows(t *testing.T, slots []int64, r Rate) {
	t.Helper()
	slices.Sort(slots)
	for i := range slots {
		for j := i; j < len(slots); j++ {
			seconds := float64(slots[j]-slots[i]) / 1e6
			most := int(math.Floor(float64(r.Burst) + r.PerSecond*seconds + 1e-6))
			if got := j - i + 1; got > most {
				t.Fatalf("%d slots within %v seconds, want at most %d", got, seconds, most)
			}
		}
	}
}

func TestSlotsNeverExceedTheRate(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	for name, r := range map[string]Rate{
		"no burst":           {PerSecond: 100, Burst: 1},
		"burst":              {PerSecond: 50, Burst: 20},
		"uneven interval":    {PerSecond: 7, Burst: 3},
		"slower than second": {PerSecond: 0.3, Burst: 2},
		"very fast":          {PerSecond: 30000, Burst: 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkWindows(t, bookTogether(t, url, name, r), r)
		})
	}
}

// bookTogether lets 4 limiters of 8 goroutines each book 10 slots, as 4
// processes would.
func bookTogether(t *testing.T, url, key string, r Rate) []int64 {
	t.Helper()
	var (
		mu    sync.Mutex
		slots []int64
		wg    sync.WaitGroup
	)
	for range 4 {
		limiter := newLimiter(t, Config{Redis: connect(t, url), MaxWait: 24 * time.Hour})
		for range 8 {
			wg.Go(func() {
				for range 10 {
					booked, err := limiter.book(t.Context(), line{key: key, rate: r})
					if err != nil {
						t.Errorf("book: %v", err)
						return
					}
					mu.Lock()
					slots = append(slots, booked.slot.at)
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if len(slots) != 320 {
		t.Fatalf("%d slots, want 320", len(slots))
	}
	return slots
}

func TestSlotsAreUsedUp(t *testing.T) {
	t.Parallel()
	limiter := newLimiter(t, Config{Redis: connect(t, redistest.Start(t)), MaxWait: time.Hour})
	r := Rate{PerSecond: 0.5, Burst: 3}
	slots := mustBook(t, limiter, key, r, 10)
	if !slices.IsSorted(slots) {
		t.Errorf("slots are not first come, first served: %v", slots)
	}
	// 3 at once and then one every 2 seconds: careful is not enough, a budget
	// that is paid for should also be used.
	if got, want := slots[9]-slots[0], int64(14e6); got > want+1 || got < want-1e6 {
		t.Errorf("10 slots take %d µs, want %d or little less", got, want)
	}
}

func TestChangedRateAppliesAtOnce(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	for name, test := range map[string]struct {
		before, after Rate
		apart         int64 // microseconds between slots after the change
	}{
		"faster":       {Rate{0.1, 1}, Rate{100, 1}, 10_000},
		"slower":       {Rate{100, 1}, Rate{0.1, 1}, 10_000_000},
		"less burst":   {Rate{0.1, 50}, Rate{0.1, 1}, 10_000_000},
		"slower again": {Rate{1, 10}, Rate{0.5, 1}, 2_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limiter := newLimiter(t, Config{Redis: connect(t, url), MaxWait: time.Hour})
			mustBook(t, limiter, name, test.before, 3)
			// The first slot after the change may use what was saved up.
			slots := mustBook(t, limiter, name, test.after, 5)[1:]
			for i := 1; i < len(slots); i++ {
				if got := slots[i] - slots[i-1]; got < test.apart-1 || got > test.apart+1 {
					t.Errorf("slots are %d µs apart, want %d", got, test.apart)
				}
			}
		})
	}
}

func TestBudgetsAreIndependent(t *testing.T) {
	t.Parallel()
	limiter := newLimiter(t, Config{Redis: connect(t, redistest.Start(t)), MaxWait: time.Hour})
	r := Rate{PerSecond: 0.01, Burst: 1}
	mustBook(t, limiter, "com.example.greedy/Production", r, 20)
	for _, other := range []string{"com.example.greedy/Sandbox", "com.example.modest/Production"} {
		b, err := limiter.book(t.Context(), line{key: other, rate: r})
		if err != nil || b.wait != 0 {
			t.Errorf("first slot of %s: wait %v, %v; want none", other, b.wait, err)
		}
	}
}

func TestWaitRefusesWithoutBooking(t *testing.T) {
	t.Parallel()
	limiter := newLimiter(t, Config{Redis: connect(t, redistest.Start(t)), MaxWait: time.Second})
	r := Rate{PerSecond: 0.01, Burst: 1}
	if _, err := limiter.Wait(t.Context(), key, r); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := limiter.Wait(t.Context(), key, r)
		var busy *BusyError
		if !errors.As(err, &busy) || !errors.Is(err, ErrBusy) {
			t.Fatalf("got %v, want a BusyError", err)
		}
		// A refusal that booked would push the next one further away.
		if busy.RetryAfter < 60*time.Second || busy.RetryAfter > 100*time.Second {
			t.Errorf("retry after %v, want 100s less what has passed", busy.RetryAfter)
		}
	}
}

func TestWaitSleepsUntilItsSlot(t *testing.T) {
	t.Parallel()
	var slept []time.Duration
	limiter := newLimiter(t, Config{
		Redis:   connect(t, redistest.Start(t)),
		MaxWait: time.Hour,
		Sleep:   func(_ context.Context, d time.Duration) error { slept = append(slept, d); return nil },
	})
	for range 3 {
		if _, err := limiter.Wait(t.Context(), key, Rate{PerSecond: 0.1, Burst: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if len(slept) != 2 {
		t.Fatalf("slept %v, want 2 waits", slept)
	}
	for i, want := range []time.Duration{10 * time.Second, 20 * time.Second} {
		if slept[i] > want || slept[i] < want/2 {
			t.Errorf("wait %d is %v, want just under %v", i, slept[i], want)
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t)
	limiter := newLimiter(t, Config{Redis: connect(t, url), MaxWait: time.Hour})
	r := Rate{PerSecond: 0.01, Burst: 1}
	mustBook(t, limiter, key, r, 1)

	asleep, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := limiter.Wait(asleep, key, r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("asleep: got %v, want context.DeadlineExceeded", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := limiter.Wait(ended, key, r)
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("ended before: got %v, want context.Canceled alone", err)
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	for name, config := range map[string]Config{
		"no redis":      {MaxWait: time.Second},
		"negative wait": {Redis: client, MaxWait: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(config); err == nil {
				t.Error("got no error")
			}
		})
	}
}

func TestRateValidate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rate Rate
		ok   bool
	}{
		"usual":      {Rate{10, 5}, true},
		"a day each": {Rate{1.0 / 86400, 1}, true},
		"zero":       {Rate{}, false},
		"no rate":    {Rate{0, 1}, false},
		"no burst":   {Rate{1, 0}, false},
		"negative":   {Rate{-1, 1}, false},
		"infinite":   {Rate{math.Inf(1), 1}, false},
		"no number":  {Rate{math.NaN(), 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := test.rate.Validate(); (err == nil) != test.ok {
				t.Errorf("got %v, want ok = %t", err, test.ok)
			}
		})
	}
}
