// Package runs holds what scheduler and repository know of a run: its kind and state,
// the lease on it, the filter of a backfill, and its figures. How they add up is kept
// by repository.
package runs

import (
	"errors"
	"fmt"
	"time"
)

// ErrLost is a run that has ended, or that another process feeds.
var ErrLost = errors.New("the run has ended or another process feeds it")

// Lease is the right of one process to something until a time.
type Lease struct {
	Owner string
	Until time.Time
}

// Kind is how a run came about.
type Kind string

// The kinds of runs.
const (
	Nightly  Kind = "nightly"
	Manual   Kind = "manual"
	Backfill Kind = "backfill"
)

// Validate reports a value that is none of the kinds.
func (k Kind) Validate() error {
	switch k {
	case Nightly, Manual, Backfill:
		return nil
	}
	return fmt.Errorf("run kind %q: want nightly, manual or backfill", string(k))
}

// State is where a run stands.
type State string

// The states of a run.
const (
	Running  State = "running"
	Finished State = "finished"
	// CutOff is a run whose window was over before it was done. What workers
	// had then they still finish, and it is counted; the rest was released.
	CutOff State = "cut_off"
	// Interrupted is a backfill that was stopped and can be resumed.
	Interrupted State = "interrupted"
	Cancelled   State = "cancelled"
)

// Run is one nightly run, manual run or backfill.
type Run struct {
	ID           int64     `db:"id" json:"id"`
	Kind         Kind      `db:"kind" json:"kind"`
	ScheduledFor time.Time `db:"scheduled_for" json:"scheduled_for"`
	// DueAfter and Cutoff bound what belongs to the run: receipts that were due
	// at Cutoff and not at DueAfter, up to which another run had them when this one
	// was opened; nil is no bound. Deadline ends the run with whatever is left
	// still due.
	DueAfter *time.Time `db:"due_after" json:"due_after"`
	Cutoff   time.Time  `db:"cutoff" json:"cutoff"`
	Deadline time.Time  `db:"deadline" json:"deadline"`
	// Share is how much of each app's rate the run may take, up to 1.
	Share float64 `db:"share" json:"share"`
	// StartedBy is who started it: user@host, pid.
	StartedBy string `db:"started_by" json:"started_by"`
}

// Totals is a run with its figures, which every display of it shows. At every
// moment Due = Succeeded + Failed + Released + InRun.
type Totals struct {
	Run
	State State `db:"state" json:"state"`
	// Filter is what a backfill is over, as JSON; nil for other runs.
	Filter *string `db:"filter" json:"-"`
	// Owner is the process that feeds the run, and OwnerUntil when its lease ends.
	// In the past, no process feeds it.
	Owner      string     `db:"owner" json:"-"`
	OwnerUntil time.Time  `db:"owner_until" json:"-"`
	StartedAt  time.Time  `db:"started_at" json:"started_at"`
	FinishedAt *time.Time `db:"finished_at" json:"finished_at"`
	Figures
	// Enqueued is how many claims were handed to workers, and Quarantined how many of
	// the receipts that failed were quarantined.
	Enqueued    int64 `db:"enqueued" json:"enqueued"`
	Quarantined int64 `db:"quarantined" json:"quarantined"`
}

// Figures are the figures of a run, or of an app's part of it.
type Figures struct {
	// Due is how many receipts belong to the run or did, InRun how many are still
	// in it: waiting, or with the workers. Both are nil until they are counted.
	Due   *int64 `db:"due" json:"due"`
	InRun *int64 `db:"in_run" json:"in_run"`
	// Succeeded is how many left the run with a usable answer, Failed how many
	// without one, and Done is both together. Released is how many left it
	// unchecked: another run checks them, or a later one.
	Succeeded int64 `db:"succeeded" json:"succeeded"`
	Failed    int64 `db:"failed" json:"failed"`
	Done      int64 `db:"done" json:"done"`
	Released  int64 `db:"released" json:"released"`
	// Changed is how many of the receipts brought an event, and Calls how many
	// requests Apple was sent.
	Changed int64 `db:"changed" json:"changed"`
	Calls   int64 `db:"calls" json:"calls"`
}

// Counted is Due, and 0 until it is counted.
func (t Figures) Counted() int64 {
	if t.Due == nil {
		return 0
	}
	return *t.Due
}
