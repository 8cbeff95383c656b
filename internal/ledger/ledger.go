// Package ledger holds the entries that scheduler, worker and repository hand
// to each other: apps, runs, claims on receipts, and outcomes of checks. It
// leaves what Apple says to internal/iap and how entries are kept to
// repository.
package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"revalidator/internal/iap"
)

// Errors that change what a caller does, whichever package meets them.
var (
	// ErrNotFound is a row that is not there.
	ErrNotFound = errors.New("not found")
	// ErrConflict is a row that is there already.
	ErrConflict = errors.New("exists already")
	// ErrLostClaim is a claim that ran out or was made anew by somebody else.
	ErrLostClaim = errors.New("claim lost")
	// ErrLostRun is a run that has ended, or that another process feeds.
	ErrLostRun = errors.New("the run has ended or another process feeds it")
	// ErrUnavailable is a database that cannot do now what it could do at
	// another time: it is away, full, read-only, or undoes what it was told.
	ErrUnavailable = errors.New("database unavailable")
	// ErrNotWritable is a database that answers and may not be written: a standby,
	// sessions that are read-only, or a role without the right. Other errors stand
	// next to it.
	ErrNotWritable = errors.New("database may not be written")
	// ErrRefused is data that the database will never take as it is: too long,
	// too large a number, a character that it does not have, a broken rule.
	ErrRefused = errors.New("refused by the database")
	// ErrTooMuch is a batch whose receipts show more rows together than one
	// transaction should hold in memory: each of it is to be saved alone.
	ErrTooMuch = errors.New("too many rows for one transaction")
	// ErrBroken is a database that takes no data of the kind, whatever is in it: a
	// table or a right is missing, or it is itself at fault.
	ErrBroken = errors.New("database does not do what it should")
	// ErrBlocked is a statement that the database, which is there, did not do in
	// time or while something was in use: statement_timeout, lock_timeout. The data
	// may be the cause, or somebody who holds a lock.
	ErrBlocked = errors.New("statement blocked in the database")
)

// App is one bundle id whose receipts are kept fresh.
type App struct {
	BundleID string `db:"bundle_id" json:"bundle_id"`
	Name     string `db:"name" json:"name"`
	// RatePerSecond is how many calls to Apple per second the app may make in
	// each environment, over all workers together; Burst is how many of them
	// may come at once.
	RatePerSecond float64 `db:"rate_per_second" json:"rate_per_second"`
	Burst         int     `db:"burst" json:"burst"`
	// Source is what is asked about the app's receipts.
	Source Source `db:"source" json:"source"`
	// GraceDays, ResubscribeDays and SweepDays take the place of what the policy
	// of looks says for all apps; nil leaves it. See Policy.
	GraceDays       *int `db:"grace_days" json:"grace_days"`
	ResubscribeDays *int `db:"resubscribe_days" json:"resubscribe_days"`
	SweepDays       *int `db:"sweep_days" json:"sweep_days"`
	// PausedAt is nil while the app is at work.
	PausedAt *time.Time `db:"paused_at" json:"paused_at"`
	// PausedCode is why it is paused, and PausedText what the person wrote who paused
	// it; see PauseReason.
	PausedCode *string `db:"paused_code" json:"paused_code"`
	PausedText *string `db:"paused_text" json:"paused_text"`
	// QuarantineStoppedAt is nil while receipts of the app may be quarantined;
	// QuarantineStoppedFor is the class of failure that too many had at once.
	QuarantineStoppedAt  *time.Time `db:"quarantine_stopped_at" json:"quarantine_stopped_at"`
	QuarantineStoppedFor *string    `db:"quarantine_stopped_for" json:"quarantine_stopped_for"`
	CreatedAt            time.Time  `db:"created_at" json:"created_at"`
}

// SourceOrDefault is the source, verifyReceipt where none is given.
func (a App) SourceOrDefault() Source { return cmp.Or(a.Source, SourceVerifyReceipt) }

// Budget names what the rate of the app is kept for: each endpoint of its source
// has a budget of its own.
func (a App) Budget(at Endpoint) Budget {
	return Budget{BundleID: a.BundleID, Source: a.SourceOrDefault(), Endpoint: at}
}

// Policy is the policy of looks for the app's receipts, made from that for all
// apps.
func (a App) Policy(p iap.Policy) iap.Policy {
	days := func(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
	if a.GraceDays != nil {
		p.GraceFor = days(*a.GraceDays)
	}
	if a.ResubscribeDays != nil {
		p.ResubscribeFor = days(*a.ResubscribeDays)
	}
	if a.SweepDays != nil {
		p = p.WithSweep(days(*a.SweepDays))
	}
	return p
}

// Policies is the policy of each app, and base for one that is not known.
func Policies(apps []App, base iap.Policy) func(bundleID string) iap.Policy {
	policies := make(map[string]iap.Policy, len(apps))
	for _, a := range apps {
		policies[a.BundleID] = a.Policy(base)
	}
	return func(bundleID string) iap.Policy {
		if policy, known := policies[bundleID]; known {
			return policy
		}
		return base
	}
}

// ClaimKey names one claim.
type ClaimKey struct{ ReceiptID, Generation int64 }

// Claim is the right to ask Apple about a receipt once: a lease with a
// generation, under which the outcome is written.
type Claim struct {
	ReceiptID  int64     `db:"id"`
	Generation int64     `db:"generation"`
	BundleID   string    `db:"bundle_id"`
	ByteSize   int64     `db:"byte_size"`
	DueAt      time.Time `db:"next_check_at"`
}

// Held is how many receipts of each app are with the workers.
type Held map[string]int

// Total is how many that are over all apps.
func (h Held) Total() (n int) {
	for _, held := range h {
		n += held
	}
	return n
}

// Add counts claims as held.
func (h Held) Add(claims []Claim) {
	for _, c := range claims {
		h[c.BundleID]++
	}
}

// ClaimRequest says which receipts a run wants to claim.
type ClaimRequest struct {
	RunID int64
	// Owner must feed the run; empty is whoever does.
	Owner string
	// DueAfter and Cutoff are those of the run.
	DueAfter *time.Time
	Cutoff   time.Time
	// Now is when it is asked, Until when the claims run out.
	Now, Until time.Time
	// Due is up to when receipts are due, by the clock of Apple's dates; the
	// zero time is Now.
	Due time.Time
	// Ahead is how much work to keep queued for each app, at its rate; a run
	// with a Share below 1 may have that part of it.
	Ahead time.Duration
	Share float64
	// Limit is about how many receipts to claim at most: rounding may add one
	// for each app.
	Limit int
	// Held is what is with the workers already, and counts against Ahead. A
	// backfill finds it out for itself.
	Held Held
	// Since is from when on receipts of an app are looked for, where those that are due
	// before were claimed just now. A backfill does not read it.
	Since map[string]time.Time
	// Shares are the parts of the rate that are in force, by Budget.String, where
	// that is not all of it; 0 is that nobody asks now. Without Production an app
	// waits as a whole, because that is asked first.
	Shares map[string]float64
}

// Followed is the epoch of the queue that the database follows now, whether it is
// another than before, and how many claims were released by that.
type Followed struct {
	Epoch    string
	Changed  bool
	Released int64
}

// slowest is the pace in bytes per second at which a request must get through,
// with its reply; see internal/appstore.
const slowest = 32 << 10

// LeasePerByte is how much longer the claim on a receipt lasts for each of its
// bytes: in base64, to both environments.
const LeasePerByte = 2 * time.Second * 4 / 3 / slowest

// Allowance is how much longer a receipt of so many bytes may take than a small
// one, in whole seconds.
func Allowance(bytes int64) time.Duration {
	return (time.Duration(bytes) * LeasePerByte).Truncate(time.Second)
}

// Installation is a database of this program, and the server that it is on.
type Installation struct {
	// ID is another for each copy of the database that Postgres restored or copied. A
	// copy of a whole server, such as a standby, shares it.
	ID string
	// Database is its name and where it was reached, for people.
	Database string
	// Address and StartedAt are of the server: a copy of it has others.
	Address   string
	StartedAt time.Time
}

// Lease is the right of one process to something until a time.
type Lease struct {
	Owner string
	Until time.Time
}

// Receipt is what a worker needs to know of a receipt that it holds a claim
// on, apart from its bytes.
type Receipt struct {
	ID         int64
	Generation int64
	// RunID is the run that the claim was made for, 0 where there is none.
	RunID int64
	// RunCancelled is whether a person has ended that run: the receipt is not
	// asked about then.
	RunCancelled bool
	ByteSize     int64
	// ImportedAt is when the receipt came in.
	ImportedAt time.Time
	// State is what Apple's last good answer, or many bad ones, made of it.
	State iap.ReceiptState
	// Data is the receipt's bytes where it is small, nil where they are to be
	// read in slices.
	Data []byte
	// Environment is empty until Apple taught it.
	Environment iap.Environment
	// ConsecutiveFailures is how often in a row there was no usable answer;
	// FailuresAlike how many of the last of them were of the class LastFailure,
	// and AlikeDays on how many different days of UTC these were.
	ConsecutiveFailures int
	LastFailure         string
	FailuresAlike       int
	AlikeDays           int
	// LastCheckedAt is when Apple was last asked, AcceptedAt when it last
	// accepted the receipt; the zero time where it never did.
	LastCheckedAt, AcceptedAt time.Time
	// StaleReplies is how many replies in a row told nothing newer than what is
	// stored.
	StaleReplies int
	// Rests is whether the receipt is covered by another, is due by that rule
	// alone, and everything that it shows was checked through the other one: it
	// need not be checked.
	Rests bool
	// Rule is by which rule the receipt is checked now.
	Rule iap.Rule
	// ReadAt is when the claim was seen to be held.
	ReadAt time.Time
	App    App
}

// Accepted is whether Apple ever accepted the receipt, whatever was believed of
// it since.
func (r Receipt) Accepted() bool { return !r.AcceptedAt.IsZero() }

// Outcome is what became of one claim. Storing it ends the claim; a claim that
// was lost meanwhile makes it void.
type Outcome struct {
	ReceiptID  int64
	Generation int64
	RunID      int64
	BundleID   string
	// At is our time of the outcome.
	At time.Time
	// Asked is whether Apple was asked. Where it was not, the receipt is given
	// back: nothing is counted and nothing but NextCheck changes.
	Asked bool
	// Calls is the number of HTTP requests made for it.
	Calls int
	// Failure is the class of what went wrong, empty after a success.
	Failure string
	// Code is Apple's status code, nil where there was no answer to read.
	Code *int
	// State and Environment are left as they were where they are empty.
	State       iap.ReceiptState
	Environment iap.Environment
	// NextCheck is the next check; a zero time means never again. In an outcome
	// that was not Asked, a zero time leaves the next check as it was. With a
	// Conclusion it is planned when that is stored; see Saved.
	NextCheck iap.Check
	// Stays keeps the receipt in its run, to be asked about again in it.
	Stays bool
	// Verdict is what to believe of the receipt in place of State and NextCheck,
	// unless the app's quarantining is stopped; nil is nothing. A receipt that is
	// quarantined leaves its run.
	Verdict *Verdict
	// CountsChecked and CountsAccused are whether the outcome counts in the
	// figures that show unusual quarantine: see Figures.
	CountsChecked, CountsAccused bool
	// Conclusion is what Apple's facts say, nil where there were none. It is
	// merged with the rows that the receipt shows, and the next check planned
	// from the result: by Policy, and where the facts tell nothing new, no
	// earlier than after Backoff.
	Conclusion *iap.Conclusion
	Policy     *iap.Policy
	Backoff    time.Duration
	// News is whether the conclusion told something newer than what was stored,
	// and showed all of that. It is found out when the outcome is stored.
	News bool
	// Shows is how many subscriptions and purchases the conclusion shows, and
	// CoveredBy the receipt that is checked instead from now on, 0 where none
	// is. They are found out when the outcome is stored.
	Shows     int
	CoveredBy int64
	// Rests is of a receipt that was not checked because another one was
	// checked instead; see Receipt.
	Rests bool
	// ImportedAt is when the receipt came in: of what was bought long before,
	// the first sight is no news. Where it is zero, everything is news.
	ImportedAt time.Time
}

// ClassShowsLess is the failure class of a reply that shows less than is stored,
// which only shows when it is merged.
const ClassShowsLess = "shows_less"

// Saved is what was stored of an outcome.
type Saved struct {
	// Held is whether the claim was still held. Otherwise nothing was stored.
	Held bool
	// NextCheck and Failure are those of the outcome, or what merging its
	// conclusion made of them.
	NextCheck iap.Check
	Failure   string
	// Quarantined is whether the verdict of the outcome is believed.
	Quarantined bool
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
