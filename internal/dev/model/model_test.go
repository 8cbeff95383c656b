package model

import (
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"revalidator/internal/claim"
)

var full = flag.Bool("full", false, "explore as far as make model does")

// one are the faults but for an emptied Redis, after which two schedulers may follow
// its epochs in many orders.
const one = anyFault &^ emptyRedis

// explorations are what is explored, in `make test` and by `make model`.
var explorations = map[string]struct{ short, full Bounds }{
	"every fault":          {Bounds{Faults: 1, allowed: one, Apple: 1}, Bounds{Faults: 1, allowed: anyFault, Apple: 1}},
	"several faults":       {Bounds{Faults: 2, allowed: one &^ restore}, Bounds{Faults: 3, allowed: one, Apple: 1}},
	"leases run out early": {Bounds{Generation: 2, Apple: 1}, Bounds{Faults: 1, allowed: one, Generation: 2, Apple: 1}},
}

func TestExplore(t *testing.T) {
	t.Parallel()
	for name, bounds := range explorations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bounds.short
			if *full {
				b = bounds.full
			}
			began := time.Now()
			result, err := Explore(b)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d faults at most, generation %d by early leases: %d states, %d steps, in %s", b.Faults, b.Generation, result.States, result.Steps,
				time.Since(began).Round(time.Millisecond))
		})
	}
}

// TestEmptiedRedisNeedsNoLease has leases that never run out: where Redis was emptied
// its epoch alone brings everything back.
func TestEmptiedRedisNeedsNoLease(t *testing.T) {
	t.Parallel()
	r := ruled()
	r.expires = false
	b := Bounds{Faults: 1, allowed: emptyRedis}
	if _, err := explore(r, b); err != nil {
		t.Error(err)
	}
	r.follows = func(string, string) bool { return false }
	if _, err := explore(r, b); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), promiseHealed) {
		t.Errorf("an epoch that is not followed: got %v, want that it is found", err)
	}
}

// TestMutations breaks one rule at a time. Each is found, by the promise that it
// breaks.
func TestMutations(t *testing.T) {
	t.Parallel()
	generationOnly := func(r claim.State, generation int64) bool { return r.Generation == generation }
	saveIf := func(holds func(claim.State, int64) bool) func(claim.State, int64, bool) (claim.State, bool) {
		return func(r claim.State, generation int64, staysDue bool) (claim.State, bool) {
			if !holds(r, generation) {
				return r, false
			}
			r.Claimed, r.Due = false, staysDue
			return r, true
		}
	}
	for name, test := range map[string]struct {
		change  func(r *rules)
		allowed fault
		want    string
	}{
		"a save without the check of the generation": {func(r *rules) {
			r.save = saveIf(func(r claim.State, _ int64) bool { return r.Claimed })
		}, one, "a result is stored"},
		"a save without the check of the claim": {func(r *rules) {
			r.save = saveIf(generationOnly)
		}, repeatTask, "a result is stored"},
		"a save without any check": {func(r *rules) {
			r.save = saveIf(func(claim.State, int64) bool { return true })
		}, repeatTask, "a result is stored"},
		"a result that is counted and not stored": {func(r *rules) {
			r.counts = func(_, staysDue bool) bool { return !staysDue }
		}, repeatTask, promiseTotals},
		"a result that is counted and leaves the receipt due": {func(r *rules) {
			r.counts = func(stored, _ bool) bool { return stored }
		}, 0, promiseTotals},
		"a claim that does not raise the generation": {func(r *rules) {
			r.claim = func(c claim.State) (claim.State, bool) {
				next, ok := c.Claim()
				next.Generation = max(c.Generation, 1)
				return next, ok
			}
		}, 0, "a result is stored twice"},
		"a claim of what is not due": {func(r *rules) {
			r.claim = func(c claim.State) (claim.State, bool) {
				c.Due = true
				return c.Claim()
			}
		}, 0, promiseTotals},
		"leases that never run out": {func(r *rules) { r.expires = false }, killScheduler, promiseHealed},
		"older facts that replace newer ones": {func(r *rules) {
			r.newer = func(uint8, uint8) bool { return true }
		}, 0, "older facts replace newer ones"},
		"a run that does not wait for claims": {func(r *rules) {
			r.left = func(c claim.State) bool { return c.Due && !c.Claimed }
		}, 0, promiseEnd},
		"a run that never is over": {func(r *rules) {
			r.isOver = func(int, bool) bool { return false }
		}, 0, promiseHealed},
		"a conflict of ids that counts as success": {func(r *rules) {
			r.hasTask = func(string) bool { return true }
		}, restore, "gets no task"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ruled()
			test.change(&r)
			b := Bounds{Faults: 1, allowed: test.allowed, Generation: 2, Apple: 1}
			if _, err := explore(r, b); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want that it is found: %s", err, test.want)
			}
		})
	}
}

// TestKey tells states apart, and not those that differ in names only.
func TestKey(t *testing.T) {
	t.Parallel()
	a := initial(1)
	b := a
	a.workers[0] = worker{step: took, receipt: 0, generation: 1}
	*a.task(0, 1) = taskActive
	b.workers[1] = worker{step: took, receipt: 1, generation: 1}
	*b.task(1, 1) = taskActive
	if a.key() != b.key() {
		t.Error("the same state with other names has another key")
	}
	seen := map[key]string{a.key(): "as it is"}
	for name, change := range map[string]func(s *state){
		"generation": func(s *state) { s.receipts[0].generation = 7 }, "claimed": func(s *state) { s.receipts[0].claimed = true },
		"due": func(s *state) { s.receipts[0].due = false }, "stored": func(s *state) { s.receipts[0].stored = 1 << 7 },
		"facts stored": func(s *state) { s.asOf = 1 }, "Apple": func(s *state) { s.apple = 2 }, "done": func(s *state) { s.done = 1 },
		"run": func(s *state) { s.run = runEnded }, "known": func(s *state) { s.known = 3 }, "epoch": func(s *state) { s.epoch = 3 },
		"faults": func(s *state) { s.faults = 3 }, "task": func(s *state) { *s.task(1, 7) = taskEnded },
		"scheduler": func(s *state) { s.schedulers[0].step = foundNothing }, "its epoch": func(s *state) { s.schedulers[0].epoch = 3 },
		"its claims": func(s *state) { s.schedulers[0].todo[1] = 7 }, "worker": func(s *state) { s.workers[0].step = over },
		"its receipt": func(s *state) { s.workers[0].receipt = 1 }, "its generation": func(s *state) { s.workers[0].generation = 7 },
		"its facts": func(s *state) { s.workers[0].facts = 3 }, "its copy": func(s *state) { s.workers[0].repeated = true },
	} {
		s := a
		change(&s)
		if other, known := seen[s.key()]; known {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[s.key()] = name
	}
}
