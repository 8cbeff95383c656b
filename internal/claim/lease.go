package claim

import (
	"errors"
	"time"
)

// Key names one claim.
type Key struct{ ReceiptID, Generation int64 }

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

// Request says which receipts a run wants to claim.
type Request struct {
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

// ErrLost is a claim that has ended or was made again by another process.
var ErrLost = errors.New("claim lost")
