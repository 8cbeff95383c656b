package judge

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/applesim"
)

// A row may say what the answers before it told, and nothing else. What follows
// is the judge's own opinion of that: it knows the program's rules by the words
// of docs/events.md and of the design, and none of its code.

const (
	// billingRetry is for how long Apple tries to collect a payment.
	billingRetry = 60 * 24 * time.Hour
	// apart is how far apart two answers are that take a refund back.
	apart = 24 * time.Hour
	// missing is on how many days a subscription must not be shown to be over.
	missing = 3
)

// sighting is when a period was shown as paid that is known to be revoked: for
// the first time since it was shown as revoked, and for the last.
type sighting struct{ first, last int64 }

// belief is the stored row with what is remembered of how it came about.
type belief struct {
	row  *row
	paid map[string]sighting
}

// expectation is a row that an answer may lead to.
type expectation struct {
	believed
	// must and may are the periods that have to be revoked in it, and those that
	// can be.
	must, may map[string]int64
	original  int64
	// decided is the status where it does not follow from the rest and the time.
	decided string
}

// expected are the rows that an answer may lead to, of which one has to be.
func (b belief) expected(a answer, list []answer) []expectation {
	if a.purchase != nil {
		return []expectation{b.purchase(a)}
	}
	if a.showsLess(b.row) {
		return b.less(a, list)
	}
	p := a.period()
	e := expectation{must: map[string]int64{}, may: map[string]int64{}, original: a.originallyBought()}
	b.revocations(&e, a)
	if b.row != nil {
		e.original = earlier(e.original, b.row.original)
	}
	e.believed = b.period(p)
	if has(e.must, p.TransactionID) && p.PurchaseDate > ms(a.Dated) {
		e.believed = b.runningBehind(p, a, e.must)
	}
	all := b.renewal(e, a)
	if b.row != nil && a.isPartlyUndated() {
		all = append(all, b.less(a, list)...)
	}
	return all
}

// less is what may become of a row by an answer that shows less than it has: it
// stays, but that refunds of other periods may be told; or it is over, where that
// many days have shown less, all of them after its end.
func (b belief) less(a answer, list []answer) []expectation {
	if b.row == nil {
		return nil
	}
	e := expectation{believed: b.row.believed, must: maps.Clone(b.row.revoked), may: maps.Clone(b.row.revoked), original: b.row.original, decided: b.row.Status}
	addRevocations(e.may, a, false)
	all := []expectation{e}
	if first := a.originallyBought(); first != 0 {
		e.original = earlier(e.original, first)
		all = append(all, e)
	}
	if a.shows(b.row.TransactionID) != nil {
		// It is shown, with a date that is none: the renewal may be believed.
		told := e
		told.decided = ""
		all = append(all, b.renewal(told, a)...)
	}
	if days, _ := b.daysMissing(a, list); days >= missing {
		for i := range all {
			over := all[i]
			over.ended()
			all = append(all, over)
		}
	}
	return all
}

// ended forgets what the renewal had in store.
func (e *expectation) ended() {
	e.IsInBillingRetryPeriod, e.GracePeriodExpiresDate = false, 0
	e.decided = string(applesim.StatusExpired)
}

// daysMissing is on how many days up to an answer the row was not shown, since it
// was shown last, and after its end; and the time from the first of them to the
// last.
func (b belief) daysMissing(a answer, list []answer) (int, time.Duration) {
	days := map[string]bool{}
	var first, last time.Time
	for _, other := range list {
		switch {
		case other.Dated.After(a.Dated):
		case !other.showsLess(b.row):
			clear(days)
		case ms(other.Dated) >= b.row.ExpiresDate:
			if len(days) == 0 {
				first = other.Dated
			}
			last = other.Dated
			days[last.UTC().Format(time.DateOnly)] = true
		}
	}
	return len(days), last.Sub(first)
}

// revocations are those that were known and those that are told, without those
// that are taken back.
func (b belief) revocations(e *expectation, a answer) {
	if b.row != nil {
		maps.Copy(e.must, b.row.revoked)
		maps.Copy(e.may, b.row.revoked)
	}
	addRevocations(e.must, a, true)
	addRevocations(e.may, a, false)
	for id, seen := range b.paid {
		shown := a.shows(id)
		if shown == nil || !shown.IsCurrent || shown.CancellationDate != 0 {
			continue
		}
		if ms(a.Dated)-seen.first >= apart.Milliseconds() {
			delete(e.must, id)
		}
		if ms(a.Dated)-seen.last >= apart.Milliseconds() {
			delete(e.may, id)
		}
	}
}

// addRevocations adds those that an answer tells, or that it tells for sure. A date
// in the receipt is as old as the receipt is, and a record without an end may be
// left aside.
func addRevocations(to map[string]int64, a answer, surely bool) {
	for _, p := range a.subscription.Periods {
		if p.CancellationDate != 0 && !p.IsUpgraded && (!surely || p.IsCurrent && p.ExpiresDate != 0) {
			to[p.TransactionID] = p.CancellationDate
		}
	}
}

// asIfSecond does without the revocations that an answer adds where another one of
// the same moment, in the style of iOS 6, was stored before it: that one told of its
// own period, and nothing is newer than it. The next answer tells them again.
func (e *expectation) asIfSecond(all []answer, b belief) {
	if !slices.ContainsFunc(all, func(a answer) bool { return a.Style == applesim.StyleTransaction }) {
		return
	}
	maps.DeleteFunc(e.must, func(id string, _ int64) bool {
		return id != e.TransactionID && (b.row == nil || !has(b.row.revoked, id))
	})
}

// runningBehind is the running period behind one that was refunded before it
// began. Where it is not known, it ends when the refunded one would have begun.
func (b belief) runningBehind(p *applesim.ToldPeriod, a answer, revoked map[string]int64) believed {
	now := ms(a.Dated)
	for _, other := range slices.Backward(a.subscription.Periods) {
		if other.ExpiresDate > now && other.PurchaseDate <= now && !has(revoked, other.TransactionID) {
			return b.period(&other)
		}
	}
	if known := b.row; known != nil && known.ExpiresDate > now && known.PurchaseDate <= now && !has(revoked, known.TransactionID) {
		return b.row.believed
	}
	unknown := b.period(p)
	unknown.ExpiresDate = p.PurchaseDate
	return unknown
}

// period is a row of a period as it is told, and what is not told of it as it is
// known.
func (b belief) period(p *applesim.ToldPeriod) believed {
	is := believed{
		ProductID: p.ProductID, TransactionID: p.TransactionID, PurchaseDate: p.PurchaseDate, ExpiresDate: p.ExpiresDate,
		IsTrialPeriod: p.IsTrialPeriod, IsIntroductory: p.IsTrialPeriod || p.IsInIntroOfferPeriod,
		OfferCodeRefName: p.OfferCodeRefName, Ownership: p.InAppOwnershipType,
	}
	if b.row != nil {
		is.Ownership = cmp.Or(is.Ownership, b.row.Ownership)
		if b.row.TransactionID == p.TransactionID {
			is.OfferCodeRefName = cmp.Or(is.OfferCodeRefName, b.row.OfferCodeRefName)
		}
	}
	is.Ownership = cmp.Or(is.Ownership, "PURCHASED")
	return is
}

// renewal adds what is told of renewal, or what is known of it for the same
// period; and of what the style of iOS 6 does not tell, what is known or nothing.
func (b belief) renewal(e expectation, a answer) []expectation {
	var known believed
	same := b.row != nil && b.row.TransactionID == e.TransactionID
	if same {
		known = b.row.believed
	}
	told := a.subscription.Renewal
	if told == nil {
		e.takeRenewal(known)
		return []expectation{e}
	}
	e.AutoRenewStatus, e.AutoRenewProductID = &told.AutoRenewStatus, told.AutoRenewProductID
	e.ExpirationIntent, e.IsInBillingRetryPeriod = told.ExpirationIntent, told.IsInBillingRetryPeriod
	e.GracePeriodExpiresDate, e.PriceConsentStatus = told.GracePeriodExpiresDate, told.PriceConsentStatus
	all := []expectation{e}
	if a.Style == applesim.StyleTransaction && same {
		kept := e
		kept.PriceConsentStatus = known.PriceConsentStatus
		if told.IsInBillingRetryPeriod {
			kept.GracePeriodExpiresDate = known.GracePeriodExpiresDate
			all = nil // a payment that failed in the grace period is not told otherwise
		}
		all = append(all, kept)
	}
	return all
}

func (b *believed) takeRenewal(known believed) {
	b.AutoRenewStatus, b.AutoRenewProductID = known.AutoRenewStatus, known.AutoRenewProductID
	b.ExpirationIntent, b.IsInBillingRetryPeriod = known.ExpirationIntent, known.IsInBillingRetryPeriod
	b.GracePeriodExpiresDate, b.PriceConsentStatus = known.GracePeriodExpiresDate, known.PriceConsentStatus
}

func (b belief) purchase(a answer) expectation {
	e := expectation{
		believed: believed{TransactionID: a.purchase.TransactionID},
		must:     map[string]int64{}, may: map[string]int64{},
	}
	if b.row != nil {
		maps.Copy(e.must, b.row.revoked)
		maps.Copy(e.may, b.row.revoked)
	}
	id, now := a.purchase.TransactionID, ms(a.Dated)
	switch {
	case a.purchase.CancellationDate != 0:
		e.may[id] = a.purchase.CancellationDate
		if a.purchase.IsCurrent {
			e.must[id] = a.purchase.CancellationDate
		}
	case a.purchase.IsCurrent && has(b.paid, id):
		if now-b.paid[id].first >= apart.Milliseconds() {
			delete(e.must, id)
		}
		if now-b.paid[id].last >= apart.Milliseconds() {
			delete(e.may, id)
		}
	}
	return e
}

// unlike is how a row differs from what was expected; empty where it does not.
func (e expectation) unlike(r row) string {
	var lines []string
	for id := range e.must {
		if !has(r.revoked, id) {
			lines = append(lines, id+" is not revoked")
		}
	}
	for id := range r.revoked {
		if !has(e.may, id) {
			lines = append(lines, id+" is revoked")
		}
	}
	slices.Sort(lines)
	want, got := e.believed, r.believed
	want.RevocationDate, want.Status = 0, ""
	if date, ok := r.revoked[want.TransactionID]; ok && want.PurchaseDate <= ms(r.asOf) {
		want.RevocationDate = cmp.Or(e.must[want.TransactionID], e.may[want.TransactionID], date)
	}
	if r.table == subscriptionsTable {
		want.Status = cmp.Or(e.decided, statusOf(want, r))
		if e.original != 0 && e.original != r.original {
			lines = append(lines, fmt.Sprintf("first bought at %d, want %d", r.original, e.original))
		}
	}
	if diff := gocmp.Diff(want.passed(r.asOf), got.passed(r.asOf)); diff != "" {
		lines = append(lines, diff)
	}
	return strings.Join(lines, "; ")
}

// passed forgets what is over: a grace period, and billing retry.
func (b believed) passed(now time.Time) believed {
	if b.GracePeriodExpiresDate <= ms(now) {
		b.GracePeriodExpiresDate = 0
	}
	if ms(now) >= b.ExpiresDate+billingRetry.Milliseconds() {
		b.IsInBillingRetryPeriod = false
	}
	return b
}

// statusOf is what follows from a row at its time.
func statusOf(b believed, r row) string {
	b = b.passed(r.asOf)
	switch {
	case has(r.revoked, b.TransactionID) && b.PurchaseDate <= ms(r.asOf):
		return string(applesim.StatusRevoked)
	case b.ExpiresDate > ms(r.asOf):
		return string(applesim.StatusActive)
	case b.GracePeriodExpiresDate > ms(r.asOf):
		return string(applesim.StatusGracePeriod)
	case b.IsInBillingRetryPeriod:
		return string(applesim.StatusBillingRetry)
	}
	return string(applesim.StatusExpired)
}

// became is the belief once an answer has led to a row.
func (b belief) became(r *row, a answer) belief {
	next := belief{r, map[string]sighting{}}
	for id := range r.revoked {
		shown, paid := false, false
		switch {
		case a.purchase != nil:
			shown, paid = a.purchase.IsCurrent, a.purchase.CancellationDate == 0
		case a.shows(id) != nil:
			p := a.shows(id)
			shown, paid = p.IsCurrent, p.CancellationDate == 0
		}
		seen, known := b.paid[id]
		switch {
		case shown && !paid: // nothing that was seen counts any more
		case shown && known:
			next.paid[id] = sighting{seen.first, ms(a.Dated)}
		case shown:
			next.paid[id] = sighting{ms(a.Dated), ms(a.Dated)}
		case known:
			next.paid[id] = seen
		}
	}
	return next
}
