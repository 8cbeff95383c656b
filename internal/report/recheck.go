package report

import (
	"fmt"
	"slices"
	"time"

	"revalidator/internal/iap"
	"revalidator/repository"
)

// RecheckResult is what became of one receipt.
type RecheckResult string

// The results of a recheck.
const (
	RecheckDue     RecheckResult = "due"
	RecheckClaimed RecheckResult = "claimed"
	RecheckNever   RecheckResult = "never_asked"
)

// Rechecked is a receipt that was to be made due.
type Rechecked struct {
	ID       int64            `json:"id"`
	BundleID string           `json:"bundle_id"`
	State    iap.ReceiptState `json:"state"`
	Result   RecheckResult    `json:"result"`
	// Obstacles are what stands in the way of the next look.
	Obstacles []string `json:"obstacles"`
}

// Recheck is what recheck has to say, in JSON.
type Recheck struct {
	Receipts []Rechecked `json:"receipts"`
	// NextRunAt is when the nightly run starts by the schedule.
	NextRunAt time.Time `json:"next_run_at"`
}

// NewRechecked is a receipt, and whether it was made due.
func NewRechecked(r repository.StoredReceipt, due bool, now time.Time) Rechecked {
	done := Rechecked{ID: r.ID, BundleID: r.BundleID, State: r.State, Result: RecheckDue, Obstacles: Obstacles(r, now)}
	switch {
	case due:
	case r.State == iap.ReceiptXcode, r.State == iap.ReceiptTooLarge:
		done.Result = RecheckNever
	default:
		done.Result = RecheckClaimed
	}
	return done
}

// AllThere refuses ids without a receipt, before any receipt is touched.
func AllThere(q repository.ReceiptQuery, found []repository.StoredReceipt) error {
	if len(found) == 0 && q.CustomerRef != nil {
		return fmt.Errorf("no receipts of customer %q: see 'revalidator receipts list'", *q.CustomerRef)
	}
	for _, id := range q.IDs {
		if !slices.ContainsFunc(found, func(r repository.StoredReceipt) bool { return r.ID == id }) {
			return fmt.Errorf("no receipt %d: nothing was changed; see 'revalidator receipts list'", id)
		}
	}
	return nil
}

// Release is what release did, in JSON.
type Release struct {
	Released int64                        `json:"released"`
	Counts   []repository.QuarantineCount `json:"counts"`
	// NotReleased are those of the given ids that are not in quarantine for the
	// reason, or that a worker has claimed.
	NotReleased []int64 `json:"not_released"`
	// NextRunAt is when the nightly run starts by the schedule.
	NextRunAt time.Time `json:"next_run_at"`
}

// Add counts a page of released receipts.
func (r *Release) Add(page []repository.ReleasedReceipt) {
	for _, released := range page {
		r.Released++
		r.NotReleased = slices.DeleteFunc(r.NotReleased, func(id int64) bool { return id == released.ID })
		i := slices.IndexFunc(r.Counts, func(c repository.QuarantineCount) bool {
			return c.BundleID == released.BundleID && c.Reason == released.Reason
		})
		if i < 0 {
			i = len(r.Counts)
			r.Counts = append(r.Counts, repository.QuarantineCount{BundleID: released.BundleID, Reason: released.Reason})
		}
		r.Counts[i].Receipts++
	}
}
