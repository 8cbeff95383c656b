package ledger

import (
	"fmt"
	"time"
)

// Lease is the right of one process to something until a time.
type Lease struct {
	Owner string
	Until time.Time
}

// RunKind is how a run came about.
type RunKind string

// The kinds of runs.
const (
	RunNightly  RunKind = "nightly"
	RunManual   RunKind = "manual"
	RunBackfill RunKind = "backfill"
)

// Validate reports a value that is none of the kinds.
func (k RunKind) Validate() error {
	switch k {
	case RunNightly, RunManual, RunBackfill:
		return nil
	}
	return fmt.Errorf("run kind %q: want nightly, manual or backfill", string(k))
}

// RunState is where a run stands.
type RunState string

// The states of a run.
const (
	RunRunning  RunState = "running"
	RunFinished RunState = "finished"
	// RunCutOff is a run whose window was over before it was done. What workers
	// had then they still finish, and it is counted; the rest was released.
	RunCutOff RunState = "cut_off"
	// RunInterrupted is a backfill that was stopped and can be resumed.
	RunInterrupted RunState = "interrupted"
	RunCancelled   RunState = "cancelled"
)

// Run is one nightly run, manual run or backfill.
type Run struct {
	ID           int64     `db:"id" json:"id"`
	Kind         RunKind   `db:"kind" json:"kind"`
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

// RunTotals is a run with its figures, which every display of it shows. At every
// moment Due = Succeeded + Failed + Released + InRun.
type RunTotals struct {
	Run
	State RunState `db:"state" json:"state"`
	// Filter is what a backfill is over, as JSON; nil for other runs.
	Filter *string `db:"filter" json:"-"`
	// Owner is the process that feeds the run, and OwnerUntil when its lease ends.
	// In the past, no process feeds it.
	Owner      string     `db:"owner" json:"-"`
	OwnerUntil time.Time  `db:"owner_until" json:"-"`
	StartedAt  time.Time  `db:"started_at" json:"started_at"`
	FinishedAt *time.Time `db:"finished_at" json:"finished_at"`
	RunFigures
	// Enqueued is how many claims were handed to workers, and Quarantined how many of
	// the receipts that failed were quarantined.
	Enqueued    int64 `db:"enqueued" json:"enqueued"`
	Quarantined int64 `db:"quarantined" json:"quarantined"`
}

// RunFigures are the figures of a run, or of an app's part of it.
type RunFigures struct {
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
func (t RunFigures) Counted() int64 {
	if t.Due == nil {
		return 0
	}
	return *t.Due
}
