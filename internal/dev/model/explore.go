package model

import (
	"errors"
	"fmt"
	"strings"
)

// ErrBroken is a promise that does not hold.
var ErrBroken = errors.New("promise broken")

// Result is what an exploration visited.
type Result struct {
	States, Steps int
}

// visit is a state that was reached, and how.
type visit struct {
	state  state
	parent int32
	step   string
}

// The promises that hold in each state.
const (
	promiseTotals = "totals do not add up: done and due are not all"
	promiseEnd    = "the run has ended, and a receipt of it is due or claimed"
	promiseHealed = "what is due is never checked, or the run never ends, although nothing goes wrong any more"
)

// check is the promise that a state breaks, or empty.
func (s *state) check() string {
	due, claimed := 0, 0
	for _, r := range s.receipts {
		due += int(bit(r.due))
		claimed += int(bit(r.claimed))
	}
	switch {
	case int(s.done)+due != receipts:
		return promiseTotals
	case s.run == runEnded && due+claimed > 0:
		return promiseEnd
	}
	return ""
}

// Explore visits every state that the bounds allow, the nearest first. Its error is
// ErrBroken, with the shortest way to a state that breaks a promise.
func Explore(b Bounds) (Result, error) { return explore(ruled(), b) }

func explore(r rules, b Bounds) (Result, error) {
	var result Result
	var broken string
	ended := false // by a broken promise, which the last visit shows
	visits := []visit{{state: initial(b.Faults), parent: -1, step: "start"}}
	seen := map[key]struct{}{visits[0].state.key(): {}}
	healed := make(map[key]struct{})
	x := &explorer{rules: r, bounds: b, broken: func(promise string) { broken = promise }}
	for at := 0; at < len(visits) && !ended; at++ {
		s := visits[at].state
		x.emit = func(step string, next state) {
			result.Steps++
			if broken == "" {
				broken = next.check()
			}
			x.settle(&next)
			k := next.key()
			if _, known := seen[k]; known && broken == "" || ended {
				return
			}
			seen[k] = struct{}{}
			visits = append(visits, visit{next, int32(at), step})
			ended = broken != ""
		}
		x.steps(s)
		if !ended && !x.heals(s, healed) {
			broken, ended = promiseHealed, true
			visits = append(visits, visit{s, int32(at), "nothing goes wrong any more"})
		}
	}
	result.States = len(visits)
	if broken == "" {
		return result, nil
	}
	return result, fmt.Errorf("%w: %s, after\n%s", ErrBroken, broken, way(visits, len(visits)-1))
}

// settle does at once what makes no difference to anybody else. Tasks of claims that
// have ended, and ids of tasks that have ended, are forgotten where no repetition and
// no restored database can meet them again; once no fault can come between at all,
// what only ends a task is no step of its own.
func (x *explorer) settle(s *state) {
	if s.faults == 0 {
		for i, w := range s.workers {
			if w.step == took {
				*s = x.load(*s, i)
			}
			if s.workers[i].step == over {
				*s = x.endTask(*s, i)
			}
		}
	}
	if s.faults > 0 && x.bounds.allowed&(repeatTask|restore) != 0 {
		return
	}
	for r := range s.tasks {
		for g, t := range s.tasks[r] {
			// Those to come may be known, from before the database was restored.
			current := s.receipts[r].rule()
			ended := current.Generation > int64(g+1) || current.Generation == int64(g+1) && !current.Claimed
			if ended && (t != taskActive || !s.isServed(r, g+1)) {
				s.tasks[r][g] = taskNone
			}
		}
	}
}

// way is how a state was reached.
func way(visits []visit, at int) string {
	var steps []string
	for i := at; i >= 0; i = int(visits[i].parent) {
		steps = append(steps, fmt.Sprintf("  %s: %+v", visits[i].step, visits[i].state))
	}
	var text strings.Builder
	for i := len(steps) - 1; i >= 0; i-- {
		text.WriteString(steps[i] + "\n")
	}
	return text.String()
}

// longestCure is more steps than any state is from the end of its run, when nothing
// goes wrong any more.
const longestCure = 200

// heals reports whether the run comes to its end from a state when nothing goes wrong
// any more: everybody goes on, and a lease runs out only where nothing else helps.
// Ways that are known to lead there are in healed.
func (x *explorer) heals(s state, healed map[key]struct{}) bool {
	if s.run == runNone {
		return true // it is opened, and that is visited
	}
	s.faults = 0
	// Broken promises on the way are found where the way is visited.
	y := &explorer{rules: x.rules, bounds: x.bounds, broken: func(string) {}}
	var way []key
	for range longestCure {
		k := s.key()
		if _, ok := healed[k]; ok || s.run == runEnded {
			for _, k := range way {
				healed[k] = struct{}{}
			}
			return true
		}
		way = append(way, k)
		next, ok := y.cure(s)
		if !ok {
			return false
		}
		s = next
	}
	return false
}

// cure is one step of a system in which nothing goes wrong.
func (x *explorer) cure(s state) (state, bool) {
	for i, w := range s.workers {
		switch w.step {
		case took:
			return x.load(s, i), true
		case loaded:
			s.workers[i].step, s.workers[i].facts = answered, s.apple
			return s, true
		case answered:
			return x.store(s, i, false), true
		case over:
			return x.endTask(s, i), true
		}
	}
	for r := range s.tasks {
		for g, t := range s.tasks[r] {
			if t == taskActive || t == taskPending { // no worker is busy
				s.tasks[r][g] = taskActive
				s.workers[0] = worker{step: took, receipt: uint8(r), generation: uint8(g + 1)}
				return s, true
			}
		}
	}
	for i, c := range s.schedulers {
		switch c.step {
		case readEpoch:
			return x.follow(s, i), true
		case followed:
			for choice := 1<<receipts - 1; choice > 0; choice-- {
				if next, n := x.claimChosen(s, i, choice); n > 0 {
					return next, true
				}
			}
			return x.lookForWork(s, i), true
		case claimedSome:
			return x.enqueue(s, i), true
		case foundNothing:
			s.schedulers[i] = scheduler{}
			s.run = runEnded
			return s, true
		}
	}
	// Nobody is busy and nothing is queued. What is claimed has lost its task: Redis
	// was emptied, which is followed, or a lease has to run out.
	if s.known == s.epoch && x.expires {
		for i, r := range s.receipts {
			if r.claimed {
				return expired(s, i), true
			}
		}
	}
	s.schedulers[0] = scheduler{step: readEpoch, epoch: s.epoch}
	return s, true
}
