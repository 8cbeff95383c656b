package model

import (
	"fmt"
	"strconv"
)

// fault is a kind of what goes wrong.
type fault uint16

const (
	killScheduler fault = 1 << iota
	killWorker
	loseTask   // Redis forgets one
	repeatTask // Redis delivers one again, also one that it had forgotten
	emptyRedis // and its epoch with it
	refuse     // Postgres refuses a commit
	unknown    // Postgres commits, and the answer is lost
	restore    // Postgres is restored from before the run, while nothing runs
	anyFault   = restore<<1 - 1
)

// explorer visits states.
type explorer struct {
	rules
	bounds Bounds
	emit   func(step string, next state)
	broken func(promise string)
}

// Bounds are how far an exploration goes.
type Bounds struct {
	// Faults are how many faults happen on a way, of the kinds that are allowed.
	Faults  uint8
	allowed fault
	// Generation is up to which claims may end early, by leases that run out or
	// results that leave a receipt due: 2 is that each receipt may be claimed again
	// once. What faults lead to comes on top.
	Generation uint8
	// Apple is how often what Apple tells changes.
	Apple uint8
}

// fails emits a state that a fault leads to, where one more may happen.
func (x *explorer) fails(kind fault, step string, next state) {
	if next.faults > 0 && x.bounds.allowed&kind != 0 {
		next.faults--
		x.emit(step, next)
	}
}

// commits emits a transaction: committed, refused, or committed without an answer.
// Where there was none the process is as a refused one.
func (x *explorer) commits(step string, committed, refused state, lose func(s *state)) {
	x.emit(step, committed)
	x.fails(refuse, step+", refused", refused)
	lose(&committed)
	x.fails(unknown, step+", outcome unknown", committed)
}

// steps emits every state that may follow.
func (x *explorer) steps(s state) {
	if s.run == runNone {
		next := s
		next.run = runOpen
		x.emit("open", next)
		return
	}
	for i := range s.schedulers {
		x.schedulerSteps(s, i)
	}
	for i := range s.workers {
		x.workerSteps(s, i)
	}
	x.redisSteps(s)
	if s.apple <= x.bounds.Apple {
		next := s
		next.apple++
		x.emit("Apple changes", next)
	}
	if x.expires {
		for i, r := range s.receipts {
			if r.claimed && r.generation < x.bounds.Generation {
				x.emit("lease expiry", expired(s, i))
			}
		}
	}
	x.restoreStep(s)
}

func expired(s state, i int) state {
	s.receipts[i].become(s.receipts[i].rule().Release())
	return s
}

// schedulerSteps are what one scheduler may do next.
func (x *explorer) schedulerSteps(s state, i int) {
	c := s.schedulers[i]
	if c.step != idle {
		next := s
		next.schedulers[i] = scheduler{}
		x.fails(killScheduler, "kill a scheduler", next)
	}
	if s.run != runOpen && c.step != claimedSome {
		return
	}
	rest := func(s *state) { s.schedulers[i] = scheduler{} }
	refused := s
	rest(&refused)
	switch c.step {
	case idle:
		next := s
		next.schedulers[i] = scheduler{step: readEpoch, epoch: s.epoch}
		x.emit("read epoch", next)
	case readEpoch:
		x.commits("follow epoch", x.follow(s, i), refused, rest)
	case followed:
		some := false
		for choice := range 1 << receipts {
			if next, n := x.claimChosen(s, i, choice); n > 0 {
				some = true
				x.commits("claim", next, refused, rest)
			}
		}
		if !some {
			x.emit("look for work", x.lookForWork(s, i))
		}
	case claimedSome:
		x.emit("enqueue", x.enqueue(s, i))
	case foundNothing:
		next := refused
		next.run = runEnded
		x.commits("end run", next, refused, rest)
	}
}

// follow releases all claims where Redis is another.
func (x *explorer) follow(s state, i int) state {
	read := s.schedulers[i].epoch
	if x.follows(epochName(s.known), epochName(read)) {
		s.known = read
		for n := range s.receipts {
			s.receipts[n].become(s.receipts[n].rule().Release())
		}
	}
	s.schedulers[i] = scheduler{step: followed}
	return s
}

func epochName(n uint8) string { return strconv.Itoa(int(n)) }

// claimChosen claims the receipts of a choice, and is nothing where one of them
// cannot be claimed.
func (x *explorer) claimChosen(s state, i, choice int) (next state, n int) {
	c := scheduler{step: claimedSome}
	for r := range s.receipts {
		if choice>>r&1 == 0 {
			continue
		}
		next, ok := x.claim(s.receipts[r].rule())
		if !ok || next.Generation > lastGeneration {
			return s, 0
		}
		s.receipts[r].become(next)
		c.todo[r] = s.receipts[r].generation
		n++
	}
	s.schedulers[i] = c
	return s, n
}

func (x *explorer) lookForWork(s state, i int) state {
	left := false
	for _, r := range s.receipts {
		left = left || x.left(r.rule())
	}
	s.schedulers[i] = scheduler{}
	if x.isOver(0, left) {
		s.schedulers[i].step = foundNothing
	}
	return s
}

// enqueue puts the next task of a scheduler on the queue.
func (x *explorer) enqueue(s state, i int) state {
	c := &s.schedulers[i]
	for r, generation := range c.todo {
		if generation == 0 {
			continue
		}
		c.todo[r] = 0
		t := s.task(uint8(r), generation)
		// An id that is there is a conflict.
		if *t <= taskGone || !x.hasTask(t.String()) {
			*t = taskPending
		}
		if *t != taskPending && *t != taskActive {
			x.broken(fmt.Sprintf("the claim of generation %d gets no task", generation))
		}
		break
	}
	if c.todo == ([receipts]uint8{}) {
		*c = scheduler{}
	}
	return s
}

// workerSteps are what one worker may do next.
func (x *explorer) workerSteps(s state, i int) {
	w := s.workers[i]
	if w.step == idle {
		x.take(s, i)
		return
	}
	dead := s
	dead.workers[i] = worker{}
	x.fails(killWorker, "kill a worker", dead)
	switch w.step {
	case took:
		x.emit("load", x.load(s, i))
	case loaded:
		next := s
		next.workers[i].step, next.workers[i].facts = answered, s.apple
		x.emit("ask", next)
	case answered:
		again := x.retry(s, i)
		for _, staysDue := range []bool{false, true} {
			if staysDue && w.generation >= x.bounds.Generation {
				continue
			}
			x.commits("save", x.store(s, i, staysDue), again, func(s *state) { *s = x.retry(*s, i) })
		}
	case over:
		x.emit("end task", x.endTask(s, i))
	}
}

// take emits the tasks that an idle worker may get.
func (x *explorer) take(s state, i int) {
	for r := range s.tasks {
		for g, t := range s.tasks[r] {
			next := s
			next.workers[i] = worker{step: took, receipt: uint8(r), generation: uint8(g + 1)}
			if t == taskPending {
				next.tasks[r][g] = taskActive
				x.emit("take", next)
			}
			if t != taskNone {
				next.tasks[r][g] = t
				next.workers[i].repeated = true
				x.fails(repeatTask, "repeat a task", next)
			}
		}
	}
}

func (x *explorer) load(s state, i int) state {
	w := &s.workers[i]
	w.step = over
	if x.holds(s.receipts[w.receipt].rule(), int64(w.generation)) {
		w.step = loaded
	}
	return s
}

// store is the transaction that stores a result.
func (x *explorer) store(s state, i int, staysDue bool) state {
	w := &s.workers[i]
	w.step = over
	r := &s.receipts[w.receipt]
	before := *r
	next, stored := x.save(r.rule(), int64(w.generation), staysDue)
	r.become(next)
	if x.counts(stored, staysDue) {
		s.done++
	}
	if !stored {
		w.facts = 0
		return s
	}
	if !before.claimed || before.generation != w.generation {
		x.broken("a result is stored that was not asked for under the claim that is held")
	}
	if before.stored>>w.generation&1 == 1 {
		x.broken("a result is stored twice")
	}
	r.stored |= 1 << w.generation
	if x.newer(s.asOf, w.facts) {
		if w.facts < s.asOf {
			x.broken("older facts replace newer ones")
		}
		s.asOf = w.facts
	}
	w.facts = 0
	return s
}

// retry gives the task back, to be run again, after a fault of our own.
func (x *explorer) retry(s state, i int) state {
	w := s.workers[i]
	s.workers[i] = worker{}
	if t := s.task(w.receipt, w.generation); *t == taskActive && !w.repeated {
		*t = taskPending
	}
	return s
}

func (x *explorer) endTask(s state, i int) state {
	w := s.workers[i]
	s.workers[i] = worker{}
	if t := s.task(w.receipt, w.generation); *t == taskActive && !w.repeated {
		*t = taskEnded
	}
	return s
}

// redisSteps are what Redis may do to tasks.
func (x *explorer) redisSteps(s state) {
	for r := range s.tasks {
		for g, t := range s.tasks[r] {
			if t == taskActive && !s.isServed(r, g+1) {
				next := s
				next.tasks[r][g] = taskPending
				x.emit("recover a task", next)
			}
			if t > taskGone {
				next := s
				next.tasks[r][g] = taskGone
				x.fails(loseTask, "lose a task", next)
			}
		}
	}
	if s.epoch < lastEpoch {
		x.fails(emptyRedis, "empty Redis", emptied(s))
	}
}

func emptied(s state) state {
	for r := range s.tasks {
		for g, t := range s.tasks[r] {
			if t != taskNone {
				s.tasks[r][g] = taskGone
			}
		}
	}
	s.epoch++
	return s
}

// isServed reports whether a worker that is alive has a task that Redis gave it.
func (s *state) isServed(r, generation int) bool {
	for _, w := range s.workers {
		if w.step != idle && !w.repeated && int(w.receipt) == r && int(w.generation) == generation {
			return true
		}
	}
	return false
}

// restoreStep restores the database, in place, while nothing runs.
func (x *explorer) restoreStep(s state) {
	if s.schedulers != ([schedulers]scheduler{}) || s.workers != ([workers]worker{}) {
		return
	}
	next := initial(s.faults)
	next.apple, next.epoch, next.tasks, next.run = s.apple, s.epoch, s.tasks, runOpen
	x.fails(restore, "restore the database", next)
}
