package claim

import (
	"time"

	"revalidator/internal/apps"
	"revalidator/internal/iap"
	"revalidator/internal/quarantine"
)

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
	App    apps.App
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
	Verdict *quarantine.Verdict
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
