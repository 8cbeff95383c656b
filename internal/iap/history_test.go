package iap_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"revalidator/internal/iap"
)

// subscriber is a made-up subscription that lives by itself: its whole history
// as Apple keeps it, and the clock. Each act is one thing that happens, and
// knows by which events it is told.
type subscriber struct {
	now     time.Time
	periods []iap.Transaction // in the order in which they were bought
	renewal iap.RenewalInfo
	status  iap.Status
	family  bool
}

func newSubscriber(family, trial bool) *subscriber {
	s := &subscriber{now: now, family: family}
	s.renewal = iap.RenewalInfo{OriginalTransactionID: "400000000000000000", AutoRenewStatus: new(true)}
	s.buy("monthly", s.now)
	s.last().IsTrialPeriod = trial
	return s
}

func (s *subscriber) last() *iap.Transaction { return &s.periods[len(s.periods)-1] }

func (s *subscriber) buy(productID string, at time.Time) {
	length := 30 * day
	if productID == "yearly" {
		length = 365 * day
	}
	ownership := iap.OwnershipPurchased
	if s.family {
		ownership = iap.OwnershipFamilyShared
	}
	s.periods = append(s.periods, iap.Transaction{
		TransactionID: fmt.Sprintf("40000000000000%04d", len(s.periods)), OriginalTransactionID: "400000000000000000",
		ProductID: productID, PurchaseDate: at, ExpiresDate: at.Add(length), OriginalPurchaseDate: now,
		InAppOwnershipType: ownership,
	})
	s.status = iap.StatusActive
	s.renewal.ProductID, s.renewal.AutoRenewProductID = productID, productID
	s.renewal.PriceConsentStatus, s.renewal.ExpirationIntent = "", ""
	s.renewal.IsInBillingRetryPeriod, s.renewal.GracePeriodExpiresDate = nil, time.Time{}
}

// reply is what Apple says now: all of it, or the newest period only, next to
// which the receipt shows the first.
func (s *subscriber) reply(newestOnly bool) *iap.Facts {
	f := &iap.Facts{AsOf: s.now, Environment: iap.Production, BundleID: "com.example.reader"}
	signed := s.periods[0]
	signed.IsUpgraded, signed.CancellationDate, signed.CancellationReason = false, time.Time{}, ""
	f.AddTransaction(signed, iap.ListReceipt)
	for i, t := range s.periods {
		if !newestOnly || i == len(s.periods)-1 {
			f.AddTransaction(t, iap.ListLatest)
		}
	}
	if !s.family {
		f.AddRenewalInfo(s.renewal)
	}
	return f
}

func (s *subscriber) state(newestOnly bool) iap.Subscription {
	return iap.Derive(s.reply(newestOnly)).Subscriptions[0]
}

// act is one thing that can happen to a subscriber in some states.
type act struct {
	name     string
	possible func(s *subscriber) bool
	do       func(s *subscriber)
	told     func(s *subscriber) []iap.EventType // asked before it is done
}

// reverses reports whether an act takes a revocation back, which a second reply a
// day later must confirm.
func (a act) reverses() bool { return strings.HasPrefix(a.name, "reverse ") }

func told(events ...iap.EventType) func(*subscriber) []iap.EventType {
	return func(*subscriber) []iap.EventType { return events }
}

func in(statuses ...iap.Status) func(*subscriber) bool {
	return func(s *subscriber) bool { return slices.Contains(statuses, s.status) }
}

func both(a, b func(*subscriber) bool) func(*subscriber) bool {
	return func(s *subscriber) bool { return a(s) && b(s) }
}

func own(s *subscriber) bool { return !s.family }

func (s *subscriber) renews(on bool) bool { return *s.renewal.AutoRenewStatus == on }

func renewsOn(s *subscriber) bool  { return s.renews(true) }
func renewsNot(s *subscriber) bool { return s.renews(false) }

// boughtNew is how a new period is told, with what came in by it.
func boughtNew(by iap.EventType, productID string) func(*subscriber) []iap.EventType {
	return func(s *subscriber) []iap.EventType {
		events := []iap.EventType{by}
		if productID != "" && s.last().ProductID != productID {
			events = append(events, iap.EventProductChanged)
		}
		if s.last().IsTrialPeriod && by != iap.EventResubscribed {
			events = append(events, iap.EventTrialConverted)
		}
		if by == iap.EventResubscribed && renewsNot(s) && own(s) {
			events = append(events, iap.EventAutoRenewEnabled)
		}
		return events
	}
}

func (s *subscriber) ends(intent iap.ExpirationIntent) {
	if s.now.Before(s.last().ExpiresDate) {
		s.now = s.last().ExpiresDate
	}
	s.now = s.now.Add(time.Minute)
	s.status, s.renewal.ExpirationIntent = iap.StatusExpired, intent
	s.renewal.IsInBillingRetryPeriod, s.renewal.GracePeriodExpiresDate = new(false), time.Time{}
}

// failsToPay begins billing retry, with a grace period where that is above 0.
func (s *subscriber) failsToPay(grace time.Duration) {
	s.now = s.last().ExpiresDate.Add(time.Minute)
	s.status, s.renewal.IsInBillingRetryPeriod, s.renewal.ExpirationIntent = iap.StatusBillingRetry, new(true), iap.IntentBillingError
	if grace > 0 {
		s.status, s.renewal.GracePeriodExpiresDate = iap.StatusGracePeriod, s.last().ExpiresDate.Add(grace)
	}
}

func (s *subscriber) refund(i int) {
	s.periods[i].CancellationDate, s.periods[i].CancellationReason = s.now, "0"
}

// older is a period that ended before the last one was bought, and is refunded or
// is not; -1 for none.
func (s *subscriber) older(refunded bool) int {
	for i, t := range s.periods[:len(s.periods)-1] {
		if t.IsRevoked() == refunded && !t.IsUpgraded && !t.ExpiresDate.After(s.last().PurchaseDate) {
			return i
		}
	}
	return -1
}

func acts() []act {
	active, ended := in(iap.StatusActive), in(iap.StatusExpired)
	failing := in(iap.StatusGracePeriod, iap.StatusBillingRetry)
	return []act{
		{"renew", both(active, renewsOn), func(s *subscriber) {
			s.now = s.last().ExpiresDate.Add(-time.Hour) // Apple is early
			s.buy(s.renewal.AutoRenewProductID, s.last().ExpiresDate)
		}, func(s *subscriber) []iap.EventType {
			return boughtNew(iap.EventRenewed, s.renewal.AutoRenewProductID)(s)
		}},
		{"turn off", both(both(active, renewsOn), own), func(s *subscriber) { s.renewal.AutoRenewStatus = new(false) }, told(iap.EventAutoRenewDisabled)},
		{"turn on", both(both(active, renewsNot), own), func(s *subscriber) { s.renewal.AutoRenewStatus = new(true) }, told(iap.EventAutoRenewEnabled)},
		{"lapse", both(active, renewsNot), func(s *subscriber) { s.ends(iap.IntentCustomerCancelled) }, told(iap.EventExpired)},
		{"grace", both(both(active, renewsOn), own), func(s *subscriber) { s.failsToPay(16 * day) }, told(iap.EventEnteredGracePeriod)},
		{"retry", both(both(active, renewsOn), own), func(s *subscriber) { s.failsToPay(0) }, told(iap.EventEnteredBillingRetry)},
		{"grace ends", in(iap.StatusGracePeriod), func(s *subscriber) {
			s.now, s.status = s.renewal.GracePeriodExpiresDate, iap.StatusBillingRetry
		}, told(iap.EventEnteredBillingRetry)},
		{"recover", failing, func(s *subscriber) { s.buy(s.last().ProductID, s.now) }, boughtNew(iap.EventRecovered, "")},
		{"give up", failing, func(s *subscriber) { s.ends(iap.IntentBillingError) }, told(iap.EventExpired)},
		{"come back", both(ended, own), func(s *subscriber) {
			s.now = s.now.Add(40 * day)
			s.buy("yearly", s.now)
			s.renewal.AutoRenewStatus = new(true)
		}, boughtNew(iap.EventResubscribed, "yearly")},
		{"come back by offer code", both(ended, own), func(s *subscriber) {
			s.now = s.now.Add(time.Hour)
			s.buy(s.last().ProductID, s.now)
			s.last().OfferCodeRefName = "SPRING"
			s.renewal.AutoRenewStatus = new(true)
		}, func(s *subscriber) []iap.EventType {
			events := boughtNew(iap.EventResubscribed, "")(s)
			return slices.Insert(events, 1, iap.EventOfferRedeemed)
		}},
		{"refund", active, func(s *subscriber) {
			// Before it began, the period before would be left for some hours.
			s.now = latestOf(s.now, s.last().PurchaseDate)
			s.refund(len(s.periods) - 1)
			s.status = iap.StatusRevoked
		}, func(s *subscriber) []iap.EventType {
			if s.family {
				return []iap.EventType{iap.EventFamilyAccessLost}
			}
			return []iap.EventType{iap.EventRefunded}
		}},
		{"reverse the refund", both(in(iap.StatusRevoked), func(s *subscriber) bool { return s.now.Add(2 * day).Before(s.last().ExpiresDate) }), func(s *subscriber) {
			s.last().CancellationDate, s.last().CancellationReason, s.status = time.Time{}, "", iap.StatusActive
		}, told(iap.EventRefundReversed)},
		{"buy again after a refund", both(in(iap.StatusRevoked), own), func(s *subscriber) {
			s.buy("monthly", s.now)
			s.renewal.AutoRenewStatus = new(true)
		}, boughtNew(iap.EventResubscribed, "monthly")},
		{"refund an older period", both(both(active, own), func(s *subscriber) bool { return s.older(false) >= 0 }), func(s *subscriber) { s.refund(s.older(false)) }, told(iap.EventRefunded)},
		{"reverse the refund of an older period", both(both(active, own), func(s *subscriber) bool {
			return s.older(true) >= 0 && s.now.Add(2*day).Before(s.last().ExpiresDate)
		}), func(s *subscriber) {
			t := &s.periods[s.older(true)]
			t.CancellationDate, t.CancellationReason = time.Time{}, ""
		}, told(iap.EventRefundReversed)},
		{"upgrade", both(both(active, own), func(s *subscriber) bool {
			return s.last().ProductID == "monthly" && s.now.Before(s.last().ExpiresDate) && s.renewal.AutoRenewProductID == "monthly"
		}), func(s *subscriber) {
			s.last().IsUpgraded = true // and, as sometimes, no cancellation date
			s.buy("yearly", latestOf(s.now, s.last().PurchaseDate.Add(time.Minute)))
			s.now = latestOf(s.now, s.last().PurchaseDate)
		}, func(s *subscriber) []iap.EventType { return boughtNew(iap.EventProductChanged, "")(s) }},
		{"upgrade to a shorter product", both(both(active, own), func(s *subscriber) bool {
			return s.last().ProductID == "yearly" && s.now.Before(s.last().ExpiresDate) && s.renewal.AutoRenewProductID == "yearly"
		}), func(s *subscriber) {
			s.last().IsUpgraded = true
			s.buy("monthly", latestOf(s.now, s.last().PurchaseDate.Add(time.Minute)))
			s.now = latestOf(s.now, s.last().PurchaseDate)
		}, func(s *subscriber) []iap.EventType { return boughtNew(iap.EventProductChanged, "")(s) }},
		{"schedule another product", both(both(active, own), func(s *subscriber) bool { return s.renewal.AutoRenewProductID != "weekly" }),
			func(s *subscriber) { s.renewal.AutoRenewProductID = "weekly" }, told(iap.EventProductChangeScheduled)},
		{"withdraw that", both(active, func(s *subscriber) bool { return s.renewal.AutoRenewProductID != s.last().ProductID }),
			func(s *subscriber) { s.renewal.AutoRenewProductID = s.last().ProductID }, told(iap.EventProductChangeScheduled)},
		{"raise the price", both(both(active, own), func(s *subscriber) bool { return s.renewal.PriceConsentStatus == "" }),
			func(s *subscriber) { s.renewal.PriceConsentStatus = "0" }, told(iap.EventPriceIncreasePending)},
		{"consent", both(active, func(s *subscriber) bool { return s.renewal.PriceConsentStatus == "0" }),
			func(s *subscriber) { s.renewal.PriceConsentStatus = "1" }, told(iap.EventPriceIncreaseAccepted)},
		{"extend", both(active, own), func(s *subscriber) { s.last().ExpiresDate = s.last().ExpiresDate.Add(10 * day) }, told(iap.EventExtended)},
	}
}

func latestOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// merged is known with what a reply shows.
func merged(known, shown iap.Subscription) iap.Subscription {
	after, _ := iap.Merge(known, shown)
	return after
}

// forward is an act that takes nothing back.
func forward(a act) bool { return !a.reverses() }

// live draws what happens next of the acts that are chosen, lets it happen, and
// returns how it is told.
func (s *subscriber) live(t *rapid.T, chosen ...func(act) bool) (act, []iap.EventType) {
	var possible []act
	for _, a := range acts() {
		if a.possible(s) && !slices.ContainsFunc(chosen, func(is func(act) bool) bool { return !is(a) }) {
			possible = append(possible, a)
		}
	}
	if len(possible) == 0 {
		return act{name: "nothing"}, nil
	}
	a := rapid.SampledFrom(possible).Draw(t, "act")
	events := a.told(s)
	s.now = s.now.Add(time.Minute)
	a.do(s)
	return a, events
}

// TestEachChangeIsToldOnce looks after each thing that happens, and expects the
// events of that and no others.
func TestEachChangeIsToldOnce(t *testing.T) {
	t.Parallel()
	reached := map[iap.EventType]bool{}
	history := func(t *rapid.T) {
		s := newSubscriber(rapid.Bool().Draw(t, "family"), rapid.Bool().Draw(t, "trial"))
		known := s.state(false)
		for range rapid.IntRange(1, 20).Draw(t, "length") {
			a, want := s.live(t)
			after := merged(known, s.state(false))
			if a.reverses() {
				if early := iap.Changes(&known, after, now); len(early) != 0 {
					t.Fatalf("%q is told by the first reply: %v", a.name, early)
				}
				s.now = s.now.Add(day)
				after = merged(after, s.state(false))
			}
			if after.Status != s.status && a.name != "nothing" {
				t.Fatalf("after %q: status %s, want %s", a.name, after.Status, s.status)
			}
			got := types(iap.Changes(&known, after, now))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q is told otherwise (-want +got)\n%s", a.name, diff)
			}
			for _, e := range got {
				reached[e] = true
			}
			s.now = s.now.Add(time.Second)
			if again := iap.Changes(&after, merged(after, s.state(false)), now); len(again) != 0 && s.state(false).Status == s.status {
				t.Fatalf("%q is told twice: %v", a.name, again)
			}
			known = after
			known.AsOf = s.now
		}
	}
	missing := func() (missing []iap.EventType) {
		for _, e := range iap.EventTypes() {
			if !reached[e] && !slices.Contains([]iap.EventType{iap.EventStarted, iap.EventPurchased, iap.EventTrialStarted}, e) {
				missing = append(missing, e)
			}
		}
		return missing
	}
	// A hundred histories do not always lead to the rarest change.
	for round := 0; round < 10 && (round == 0 || missing() != nil); round++ {
		rapid.Check(t, history)
	}
	if m := missing(); m != nil {
		t.Errorf("no history led to %v", m)
	}
}

// TestReplyWithoutOldTransactionsUndoesNothing compares what is known from
// replies that show all with what is known from replies of either kind.
func TestReplyWithoutOldTransactionsUndoesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSubscriber(rapid.Bool().Draw(t, "family"), false)
		known := s.state(false)
		for range rapid.IntRange(1, 12).Draw(t, "length") {
			s.live(t)
			known = merged(known, s.state(false))
			s.now = s.now.Add(time.Second)
			short := merged(known, s.state(true))
			full := merged(known, s.state(false))
			if diff := cmp.Diff(full, short, stored); diff != "" {
				t.Fatalf("(-all +without old transactions)\n%s", diff)
			}
			known = short
		}
	})
}

// TestAnyInterleavingEndsInTheNewest stores the replies of a history in any
// order, from any number of receipts.
func TestAnyInterleavingEndsInTheNewest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newSubscriber(rapid.Bool().Draw(t, "family"), rapid.Bool().Draw(t, "trial"))
		replies := []iap.Subscription{s.state(false)}
		for range rapid.IntRange(1, 8).Draw(t, "length") {
			s.live(t, forward)
			s.now = s.now.Add(time.Minute)
			replies = append(replies, s.state(false))
		}
		newest := replies[len(replies)-1]
		replies = append(replies, replies...) // two receipts show the same
		known := (*iap.Subscription)(nil)
		for _, r := range rapid.Permutation(replies).Draw(t, "order") {
			if known == nil {
				known = &r
				continue
			}
			known = new(merged(*known, r))
		}
		if diff := cmp.Diff(newest, *known, stored); diff != "" {
			t.Fatalf("(-newest +known)\n%s", diff)
		}
	})
}
