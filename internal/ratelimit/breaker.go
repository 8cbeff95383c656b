package ratelimit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrOpen is matched by every *OpenError.
var ErrOpen = errors.New("calls are held back")

// OpenError is a refusal by an open breaker: most of the last answers were
// trouble, so that nobody but a few probes may ask. It matches ErrOpen.
type OpenError struct {
	// RetryAfter is when it is worth to try again. Everybody who is refused
	// hears the same, so add jitter.
	RetryAfter time.Duration
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("calls are held back for %v after too many failures", e.RetryAfter.Round(time.Millisecond))
}

// Is makes errors.Is(err, ErrOpen) true.
func (e *OpenError) Is(target error) bool { return target == ErrOpen }

// Signal is what an answer says of the one who gave it, whatever it says of the
// question.
type Signal string

// The signals.
const (
	// Answered is an answer that was worth asking for.
	Answered Signal = "answered"
	// Unclear says nothing: no call was made, or its fault was ours.
	Unclear Signal = "unclear"
	// Limited asks to be called less.
	Limited Signal = "limited"
	// Distress is no answer, or one that speaks of trouble.
	Distress Signal = "distress"
	// Malformed accuses a question that cannot be at fault. It opens the
	// breaker as Distress does, and leaves the rate alone.
	Malformed Signal = "malformed"
	// Oversized refuses a request for its size. It opens the breaker of that size
	// alone.
	Oversized Signal = "oversized"
)

func (s Signal) isTrouble() bool { return s == Distress || s == Malformed }

// Verdict is what became of a budget by what was heard.
type Verdict struct {
	// Open is whether a breaker is open now that holds such calls back;
	// RetryAfter when it is worth to ask again then.
	Open       bool
	RetryAfter time.Duration
	// Everybody is whether it is the one of all apps.
	Everybody bool
	// Opened and Closed are whether the breaker just did, which of all workers
	// one hears. Since is when it opened.
	Opened, Closed bool
	Since          time.Time
	// Halved is whether the rate just was.
	Halved bool
}

// reportTimeout bounds a report, which is made also when the caller's time is
// over.
const reportTimeout = 5 * time.Second

// notes are good answers of one source that nothing was told of yet, and who
// tells now.
type notes struct {
	telling chan struct{}
	good    map[budget]int64 // under the limiter's mu
	told    time.Time
}

// notesAge is for how long good answers are kept: together they cost a call.
const notesAge = time.Second

func (l *Limiter) notesOf(of string) *notes {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.notes[of]
	if n == nil {
		n = &notes{telling: make(chan struct{}, 1), good: make(map[budget]int64), told: l.now()}
		l.notes[of] = n
	}
	return n
}

// collect takes the good answers that nothing was told of, unless this is one of
// them and there is time. Those of long ago say nothing now.
func (l *Limiter) collect(n *notes, b budget, isGood bool) (good map[budget]int64, tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	age := now.Sub(n.told)
	if age > micros(window) {
		clear(n.good)
	}
	if isGood {
		n.good[b]++
	}
	if isGood && age < notesAge {
		return nil, false
	}
	good = n.good
	n.good, n.told = make(map[budget]int64), now
	return good, true
}

// Report tells what was heard of the call for which a slot was waited for; why
// is one word for the trouble, if there was any. Good answers are told together,
// once in a second. Its error is ErrUnavailable.
func (l *Limiter) Report(ctx context.Context, key string, s Slot, heard Signal, why string) (Verdict, error) {
	a := answer{budget: parse(key), signal: heard, why: why, slot: s}
	if heard == Unclear && !s.IsProbe() {
		return Verdict{}, nil
	}
	isGood, tell := heard == Answered && !s.IsProbe(), false
	if a.good, tell = l.collect(l.notesOf(a.budget.of), a.budget, isGood); !tell {
		return Verdict{}, nil
	}
	if isGood {
		a.signal = Unclear // it is among the good ones
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTimeout)
	defer cancel()
	var v Verdict
	err := l.update(ctx, a.budget.of, func(h *health, now int64) { v = h.take(now, a) })
	if err != nil {
		return Verdict{}, unavailable(ctx, "report on", key, err)
	}
	return v, nil
}

// giveUp tells that a booked slot is not used.
func (l *Limiter) giveUp(ctx context.Context, key string, s Slot) {
	// Where this fails, the patience with the probe ends.
	_, _ = l.Report(ctx, key, s, Unclear, "")
}

// bookProbe books a slot for a probe of the breaker that holds a budget back, if
// it may send one.
func (l *Limiter) bookProbe(ctx context.Context, key string, r Rate) (booking, error) {
	var id, wait int64
	var of string
	b := parse(key)
	err := l.update(ctx, b.of, func(h *health, now int64) {
		id, of, wait = h.admit(now, l.patience.Microseconds(), b)
	})
	switch {
	case err != nil:
		return booking{}, unavailable(ctx, "probe", key, err)
	case wait > 0:
		return booking{}, &OpenError{RetryAfter: micros(wait)}
	case of == "":
		return l.book(ctx, line{key: key, rate: r}) // it has just closed
	}
	booked, err := l.book(ctx, line{key: key, rate: r, probe: true})
	booked.slot.probe, booked.slot.of = id, of
	if err != nil {
		l.giveUp(ctx, key, booked.slot)
	}
	return booked, err
}

// Block closes a budget for a while, as a 429 with Retry-After asks: nobody gets
// a slot before, and those who sleep for one are sent to the end of the line. A
// shorter block never ends a longer one, and none is believed for more than a day.
// An emptied Redis forgets it.
func (l *Limiter) Block(ctx context.Context, key string, d time.Duration) error {
	b := parse(key)
	err := l.update(ctx, b.of, func(h *health, now int64) { h.block(now, d.Microseconds(), b.app) })
	if err != nil {
		return unavailable(ctx, "block", key, err)
	}
	return nil
}

// storeTries is how often an update is tried that others come before.
const storeTries = 20

// update changes what is known of a source. In this process one does at a time;
// where another process changed it meanwhile, it is done again.
func (l *Limiter) update(ctx context.Context, of string, change func(h *health, now int64)) error {
	n := l.notesOf(of)
	select {
	case n.telling <- struct{}{}:
		defer func() { <-n.telling }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for range storeTries {
		r, err := l.read(ctx, of)
		if err != nil {
			return err
		}
		if r.odd() {
			if err := l.redis.Del(ctx, healthKey(of)).Err(); err != nil {
				return err
			}
		}
		change(&r.health, r.now)
		stored, err := l.store(ctx, of, r)
		if err != nil || stored {
			return err
		}
	}
	return fmt.Errorf("changed by others %d times meanwhile", storeTries)
}

// reading is what is known of a source.
type reading struct {
	health  health
	now     int64
	kind    string // of the key
	version string
	text    string
	bad     error // of a text that is none of ours
}

// odd is whether somebody else wrote what is stored: nothing is known then.
func (r reading) odd() bool { return r.kind != "hash" && r.kind != "none" || r.bad != nil }

func (l *Limiter) read(ctx context.Context, of string) (r reading, err error) {
	reply, err := readScript.Run(ctx, l.redis, []string{healthKey(of)}).Slice()
	if err != nil {
		return r, err
	}
	if len(reply) != 4 {
		return r, fmt.Errorf("%d values of what is known", len(reply))
	}
	r.now, _ = reply[0].(int64)
	r.kind, _ = reply[1].(string)
	r.version, _ = reply[2].(string)
	r.text, _ = reply[3].(string)
	if r.text != "" {
		r.bad = json.Unmarshal([]byte(r.text), &r.health)
	}
	if r.odd() {
		r.health, r.version, r.text = health{}, "", ""
	}
	r.health.correct(r.now)
	return r, nil
}

// store stores what is known, unless it was changed since it was read.
func (l *Limiter) store(ctx context.Context, of string, r reading) (bool, error) {
	text, err := json.Marshal(r.health)
	if err != nil || string(text) == r.text && !r.health.rewrite {
		return true, err
	}
	version := strconv.FormatUint(rand.Uint64(), 36)
	args := append([]any{r.version, version, text, lifetime.Milliseconds()}, r.health.limits()...)
	n, err := storeScript.Run(ctx, l.redis, []string{healthKey(of), limitsKey(of)}, args...).Int()
	if err != nil || n == 0 {
		return false, err
	}
	return true, l.redis.SAdd(ctx, sourcesKey, of).Err()
}

// Shares are the parts of the configured rates that are in force, by the keys of
// the budgets that are not as configured. It is 0 where nobody gets a slot now,
// so that to bring work is of no use. A key without an app is for all of them.
func (l *Limiter) Shares(ctx context.Context) (map[string]float64, error) {
	states, err := l.Impaired(ctx)
	if err != nil {
		return nil, err
	}
	shares := make(map[string]float64)
	for _, s := range states {
		shares[s.Key] = s.Share
		if s.Held {
			shares[s.Key] = 0
		}
	}
	return shares, nil
}

// State is how a budget stands.
type State struct {
	// Key names the budget; without an app it is that of all.
	Key string
	// Share is the part of the configured rate that is in force, 1 at best.
	Share float64
	// Open is whether the breaker is open: since when, until when nobody but a
	// probe asks, and for what in one word.
	Open         bool
	Since, Until time.Time
	Why          string
	// BlockedUntil is when it may ask again, the zero time where it is not blocked.
	BlockedUntil time.Time
	// Held is whether nobody gets a slot now.
	Held bool
	// Odd is whether what is stored was not written by this program. Nothing is
	// known then; the next answer that counts writes it again.
	Odd bool
}

// Impaired says how the budgets stand that are not as configured, by their keys.
func (l *Limiter) Impaired(ctx context.Context) ([]State, error) {
	sources, err := l.redis.SMembers(ctx, sourcesKey).Result()
	if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil, fmt.Errorf("list budgets: %w: %w", ErrUnavailable, err)
	}
	var states []State
	for _, of := range sources {
		r, err := l.read(ctx, of)
		if err != nil {
			return nil, unavailable(ctx, "read budgets of", of, err)
		}
		states = append(states, r.health.states(of, r.now, l.patience.Microseconds())...)
		if r.odd() {
			states = append(states, State{Key: budget{of: of}.String(), Share: 1, Odd: true})
		}
	}
	slices.SortFunc(states, func(a, b State) int { return cmp.Compare(a.Key, b.Key) })
	return states, nil
}
