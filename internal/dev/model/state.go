// Package model explores the claim protocol: it visits every interleaving of a few
// schedulers, workers and faults, within bounds that Bounds states, and holds each to
// what the protocol promises. The rules are those of internal/claim, which the
// program uses; what the program does around them is told here once more, in small.
// It is for tests, and `make model`.
package model

import "revalidator/internal/claim"

// How many there are of each, and the highest generation and epoch that a state can
// hold.
const (
	receipts       = 2
	schedulers     = 2
	workers        = 2
	lastGeneration = 7
	lastEpoch      = 3
)

// task is what Redis holds under the id of one claim.
type task uint8

const (
	taskNone    task = iota
	taskGone         // was there once, and may be repeated
	taskPending      // waits, or is to be run again
	taskActive       // a worker has it, or had it when it was killed
	taskEnded        // has ended, and is retained
)

// String is the state in asynq's words.
func (t task) String() string {
	return [...]string{"", "", "pending", "active", "completed"}[t]
}

// receipt is a row of Postgres.
type receipt struct {
	generation   uint8
	claimed, due bool
	// stored has a bit for each generation under which a result was stored.
	stored uint8
}

func (r receipt) rule() claim.State {
	return claim.State{Generation: int64(r.generation), Claimed: r.claimed, Due: r.due}
}

func (r *receipt) become(next claim.State) {
	r.generation, r.claimed, r.due = uint8(next.Generation), next.Claimed, next.Due
}

// The steps of a scheduler, in their order.
const (
	idle         uint8 = iota
	readEpoch          // has read the epoch of Redis
	followed           // has released what an emptied Redis lost
	claimedSome        // has committed claims whose tasks are to be enqueued
	foundNothing       // has seen that nothing is left, and will end the run
)

// scheduler is a process that feeds the run.
type scheduler struct {
	step, epoch uint8
	// todo are the generations of claims to enqueue, 0 for none.
	todo [receipts]uint8
}

// The steps of a worker, in their order.
const (
	took     uint8 = iota + 1 // a task
	loaded                    // its receipt, whose claim is held
	answered                  // by Apple
	over                      // what is left is to end the task
)

// worker is a process that has a task, or is idle.
type worker struct {
	step, receipt, generation uint8
	// facts are what Apple told, by its time.
	facts uint8
	// repeated is whether Redis has delivered the task to somebody else as well.
	repeated bool
}

// The states of the run.
const (
	runNone uint8 = iota
	runOpen
	runEnded
)

// state is everything at one moment: Postgres, Redis, Apple and the processes.
type state struct {
	receipts [receipts]receipt
	// asOf is Apple's time of the facts that are stored of the one subscription that
	// both receipts show, and apple what it would tell now.
	asOf, apple uint8
	done, run   uint8
	// known is the epoch that Postgres knows, and epoch that of Redis.
	known, epoch uint8
	tasks        [receipts][lastGeneration]task // of generations from 1 on
	schedulers   [schedulers]scheduler
	workers      [workers]worker
	faults       uint8 // that may still happen
}

func (s *state) task(receipt, generation uint8) *task { return &s.tasks[receipt][generation-1] }

// initial is before the run is opened.
func initial(faults uint8) state {
	s := state{apple: 1, known: 1, epoch: 1, faults: faults}
	for i := range s.receipts {
		s.receipts[i].due = true
	}
	return s
}

// key is a state in 128 bits.
type key [2]uint64

// packer writes numbers of few bits one after the other.
type packer struct {
	key  key
	bits uint
}

func (p *packer) put(value uint8, bits uint) {
	p.key[p.bits/64] |= uint64(value) << (p.bits % 64)
	p.bits += bits
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// pack is a state as a key, with the receipts in an order.
func (s *state) pack(order [receipts]uint8) key {
	var p packer
	for _, i := range order {
		r := s.receipts[i]
		p.put(r.generation, 3)
		p.put(bit(r.claimed), 1)
		p.put(bit(r.due), 1)
		p.put(r.stored>>1, 7)
	}
	for _, n := range []uint8{s.asOf, s.apple, s.done, s.run, s.known, s.epoch, s.faults} {
		p.put(n, 2)
	}
	var all [schedulers]uint16
	for i, c := range s.schedulers {
		all[i] = uint16(c.step) | uint16(c.epoch)<<3
		for n, r := range order {
			all[i] |= uint16(c.todo[r]) << (5 + 3*n)
		}
	}
	if all[0] > all[1] {
		all[0], all[1] = all[1], all[0]
	}
	// A number never lies across the two words: these are 60 bits, the others 62.
	for _, n := range all {
		p.put(uint8(n), 8)
		p.put(uint8(n>>8), 3)
	}
	p.bits = 64
	var busy [workers]uint16
	for i, w := range s.workers {
		if w.step == idle {
			continue
		}
		at := w.receipt
		if order[0] != 0 {
			at = 1 - at
		}
		busy[i] = uint16(w.step) | uint16(at)<<3 | uint16(w.generation)<<4 | uint16(w.facts)<<7 | uint16(bit(w.repeated))<<9
	}
	if busy[0] > busy[1] {
		busy[0], busy[1] = busy[1], busy[0]
	}
	for _, n := range busy {
		p.put(uint8(n), 8)
		p.put(uint8(n>>8), 2)
	}
	for _, i := range order {
		for _, t := range s.tasks[i] {
			p.put(uint8(t), 3)
		}
	}
	return p.key
}

// key is the same for states that differ only in which process or receipt is which.
func (s *state) key() key {
	a, b := s.pack([receipts]uint8{0, 1}), s.pack([receipts]uint8{1, 0})
	if a[0] < b[0] || a[0] == b[0] && a[1] <= b[1] {
		return a
	}
	return b
}
