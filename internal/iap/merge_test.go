package iap_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"revalidator/internal/iap"
)

// telling makes facts of a time: what changes in them is what the reply shows.
func telling(at time.Time, records ...any) *iap.Facts {
	f := facts(records...)
	f.AsOf = at
	return f
}

// shown is what facts say of the one subscription that they show.
func shown(t *testing.T, f *iap.Facts) iap.Subscription {
	t.Helper()
	c := iap.Derive(f)
	if len(c.Subscriptions) != 1 {
		t.Fatalf("facts show %d subscriptions, want one", len(c.Subscriptions))
	}
	return c.Subscriptions[0]
}

// unseen are facts that do not show the subscription at all.
func unseen(of iap.Subscription, at time.Time) iap.Subscription {
	return iap.Subscription{SubscriptionKey: of.SubscriptionKey, AsOf: at}
}

func mustMerge(t *testing.T, before, f iap.Subscription, want iap.Progress) iap.Subscription {
	t.Helper()
	after, progress := iap.Merge(before, f)
	if progress != want {
		t.Fatalf("facts of %s: progress %d, want %d", f.AsOf, progress, want)
	}
	return after
}

func webOrder(id string) func(*iap.Transaction) {
	return func(t *iap.Transaction) { t.WebOrderLineItemID = id }
}

func transactionStyle(f *iap.Facts) *iap.Facts {
	f.TransactionStyle = true
	return f
}

// TestMergeKeepsUntoldGroups has a second reply that does not tell a group, and
// looks at what is left of it.
func TestMergeKeepsUntoldGroups(t *testing.T) {
	t.Parallel()
	inGrace := facts(period("2", -day), renewal(inRetry, graceUntil(15*day), func(r *iap.RenewalInfo) { r.ExpirationIntent = iap.IntentBillingError }))
	retrying := facts(period("2", -day), renewal(inRetry))
	trial := facts(period("2", 10*day, func(t *iap.Transaction) { t.OfferCodeRefName, t.IsTrialPeriod = "SPRING", true }), renewal())
	tests := []struct {
		name          string
		before, after *iap.Facts
		want          iap.Status
		check         func(iap.Subscription) bool
	}{
		{"grace, and no renewal information", inGrace, telling(now.Add(day), period("2", -day)), iap.StatusGracePeriod,
			func(s iap.Subscription) bool {
				return s.ExpirationIntent == iap.IntentBillingError && *s.AutoRenewStatus
			}},
		{"grace ends while it is not told", inGrace, telling(now.Add(16*day), period("2", -day)), iap.StatusBillingRetry,
			func(s iap.Subscription) bool { return s.IsInBillingRetryPeriod }},
		{"billing retry, and no renewal information", retrying, telling(now.Add(58*day), period("2", -day)), iap.StatusBillingRetry,
			func(s iap.Subscription) bool { return s.RenewalAsOf.Equal(now) }},
		{"billing retry ends while it is not told", retrying, telling(now.Add(59*day), period("2", -day)), iap.StatusExpired,
			func(s iap.Subscription) bool { return !s.IsInBillingRetryPeriod }},
		{"billing retry goes on longer, and that is told", retrying, telling(now.Add(70*day), period("2", -day), renewal(inRetry)), iap.StatusBillingRetry,
			func(s iap.Subscription) bool { return s.IsInBillingRetryPeriod }},
		{"iOS 6 style cannot tell of grace", inGrace, transactionStyle(telling(now.Add(day), period("2", -day), renewal(inRetry))), iap.StatusGracePeriod,
			func(s iap.Subscription) bool { return s.GraceAsOf.Equal(now) && s.RenewalAsOf.Equal(now.Add(day)) }},
		{"iOS 6 style tells that Apple does not try any more", inGrace, transactionStyle(telling(now.Add(day), period("2", -day), renewal())), iap.StatusExpired,
			func(s iap.Subscription) bool { return s.GracePeriodExpiresDate.IsZero() }},
		{"iOS 6 style cannot tell of an offer", trial, transactionStyle(telling(now.Add(day), period("2", 10*day), renewal())), iap.StatusActive,
			func(s iap.Subscription) bool { return s.OfferType == iap.OfferCode && s.IsTrialPeriod }},
		{"a told group is replaced whole", inGrace, telling(now.Add(day), period("2", -day), renewal()), iap.StatusExpired,
			func(s iap.Subscription) bool { return s.GracePeriodExpiresDate.IsZero() && s.ExpirationIntent == "" }},
		{"the next period, and no renewal information", inGrace, telling(now.Add(day), period("3", 29*day)), iap.StatusActive,
			func(s iap.Subscription) bool {
				return s.AutoRenewStatus == nil && s.GracePeriodExpiresDate.IsZero() && s.RenewalAsOf.IsZero()
			}},
		{"another transaction of the same period", facts(period("2", -day, webOrder("7")), renewal(inRetry)), telling(now.Add(day), period("3", -day, webOrder("7"))),
			iap.StatusBillingRetry, func(s iap.Subscription) bool { return s.TransactionID == "3" && s.IsInBillingRetryPeriod }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := mustMerge(t, shown(t, test.before), shown(t, test.after), iap.ProgressMerged)
			if got.Status != test.want || !test.check(got) {
				t.Errorf("got %+v, want %s", got, test.want)
			}
		})
	}
}

// TestOlderFactsTellWhatNewerDoNot has a transaction by itself, signed by a device
// after renewal was turned off, and then the reply that describes that.
func TestOlderFactsTellWhatNewerDoNot(t *testing.T) {
	t.Parallel()
	known := shown(t, facts(period("2", 10*day), renewal()))
	signed := shown(t, telling(now.Add(5*time.Minute), period("2", 10*day)))
	signed.Tells = iap.GroupPeriod | iap.GroupOffer
	known = mustMerge(t, known, signed, iap.ProgressMerged)
	off := renewal(func(r *iap.RenewalInfo) { r.AutoRenewStatus = new(false) })
	got := mustMerge(t, known, shown(t, telling(now.Add(time.Minute), period("2", 10*day), off)), iap.ProgressMerged)
	if *got.AutoRenewStatus || !got.AsOf.Equal(now.Add(5*time.Minute)) || !got.RenewalAsOf.Equal(now.Add(time.Minute)) {
		t.Errorf("got %+v, want renewal off as of the reply", got)
	}
	mustMerge(t, got, shown(t, telling(now.Add(30*time.Second), period("2", 10*day), renewal())), iap.ProgressNone)
	older := shown(t, telling(now.Add(2*time.Minute), period("1", -20*day), renewal()))
	if got := mustMerge(t, got, older, iap.ProgressMerged); got.TransactionID != "2" || *got.AutoRenewStatus || got.Status != iap.StatusActive {
		t.Errorf("got %+v, want nothing of a period that is over but that none is revoked", got)
	}
}

// TestReplyThatShowsLessProvesNothing has a subscription that is paid for, and
// replies that do not show that.
func TestReplyThatShowsLessProvesNothing(t *testing.T) {
	t.Parallel()
	known := shown(t, facts(period("2", 20*day), renewal()))
	for name, less := range map[string]func(at time.Time) iap.Subscription{
		"a period of two years ago": func(at time.Time) iap.Subscription {
			old := period("0", -730*day)
			old.PurchaseDate = now.Add(-1095 * day)
			return shown(t, telling(at, old, renewal(func(r *iap.RenewalInfo) { r.AutoRenewStatus = new(false) })))
		},
		"the period before": func(at time.Time) iap.Subscription { return shown(t, telling(at, period("1", -10*day))) },
		"nothing":           func(at time.Time) iap.Subscription { return unseen(known, at) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := known
			for _, days := range []time.Duration{1, 2, 3, 4, 19} {
				s = mustMerge(t, s, less(now.Add(days*day)), iap.ProgressShowsLess)
			}
			if diff := cmp.Diff(known, s, stored); diff != "" {
				t.Fatalf("before its end (-known +after)\n%s", diff)
			}
			for _, after := range []time.Duration{20 * day, 20*day + time.Hour, 21 * day, 21*day + 11*time.Hour} {
				if s = mustMerge(t, s, less(now.Add(after)), iap.ProgressShowsLess); s.Status != iap.StatusActive {
					t.Fatalf("%s after the first: %s, want active until the third day", after, s.Status)
				}
			}
			before := s
			s = mustMerge(t, s, less(now.Add(25*day)), iap.ProgressShowsLess)
			if s.Status != iap.StatusExpired || !iap.NoLongerShown(before, s) {
				t.Errorf("on the third day: %s, want expired because it is no longer shown", s.Status)
			}
			if got := types(iap.Changes(&before, s, now)); !slices.Equal(got, []iap.EventType{iap.EventExpired}) {
				t.Errorf("events %v, want expired", got)
			}
			mustMerge(t, s, less(now.Add(26*day)), iap.ProgressNone)
			back := mustMerge(t, s, shown(t, telling(now.Add(27*day), period("3", 50*day), renewal())), iap.ProgressMerged)
			if back.Status != iap.StatusActive || back.UnshownReplies != 0 {
				t.Errorf("shown again: %+v", back)
			}
		})
	}
	t.Run("a reply that shows it in between", func(t *testing.T) {
		t.Parallel()
		s := mustMerge(t, known, unseen(known, now.Add(20*day)), iap.ProgressShowsLess)
		s = mustMerge(t, s, unseen(known, now.Add(21*day)), iap.ProgressShowsLess)
		s = mustMerge(t, s, shown(t, telling(now.Add(22*day), period("2", 20*day), renewal(inRetry))), iap.ProgressMerged)
		for _, days := range []time.Duration{23, 24, 25} {
			s = mustMerge(t, s, unseen(known, now.Add(days*day)), iap.ProgressShowsLess)
		}
		if s.Status != iap.StatusBillingRetry {
			t.Errorf("got %s, want billing retry, which ends 60 days after expiry", s.Status)
		}
	})
	t.Run("facts no newer than the rows", func(t *testing.T) {
		t.Parallel()
		mustMerge(t, known, unseen(known, now), iap.ProgressNone)
	})
	t.Run("the newest period by its web order line item", func(t *testing.T) {
		t.Parallel()
		s := shown(t, facts(period("2", 20*day, webOrder("7")), renewal()))
		restored := period("9", 20*day, webOrder("7"))
		restored.PurchaseDate = restored.PurchaseDate.Add(-time.Second)
		mustMerge(t, s, shown(t, telling(now.Add(day), restored)), iap.ProgressMerged)
	})
}

// TestRevocationIsTakenBackByTwoReplies has replies that show a revoked period as
// paid or as revoked, at hours after the refund was seen.
func TestRevocationIsTakenBackByTwoReplies(t *testing.T) {
	t.Parallel()
	type reply struct {
		hours int
		paid  bool
	}
	tests := []struct {
		name    string
		replies []reply
		want    bool // taken back
	}{
		{"one", []reply{{1, true}}, false},
		{"two, an hour apart", []reply{{1, true}, {2, true}}, false},
		{"two, a day apart", []reply{{1, true}, {25, true}}, true},
		{"an hour short of a day", []reply{{1, true}, {24, true}}, false},
		{"three, the last a day after the first", []reply{{1, true}, {13, true}, {25, true}}, true},
		{"one between that shows it", []reply{{1, true}, {13, false}, {25, true}}, false},
		{"a day after the one between", []reply{{1, true}, {13, false}, {25, true}, {49, true}}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := shown(t, facts(period("2", 20*day, refunded(day)), renewal()))
			p := iap.Purchase{TransactionID: "8", RevocationDate: now, AsOf: now}
			var events, purchaseEvents []iap.EventType
			for _, r := range test.replies {
				at := now.Add(time.Duration(r.hours) * time.Hour)
				state, bought := period("2", 20*day), iap.Purchase{TransactionID: "8", AsOf: at}
				if !r.paid {
					state, bought.RevocationDate = period("2", 20*day, refunded(day)), now
				}
				after := mustMerge(t, s, shown(t, telling(at, state, renewal())), iap.ProgressMerged)
				events = append(events, types(iap.Changes(&s, after, now))...)
				s = after
				kept, _ := iap.MergePurchase(p, bought)
				purchaseEvents = append(purchaseEvents, types(iap.PurchaseChanges(&p, kept, now))...)
				p = kept
			}
			var want []iap.EventType
			status := iap.StatusRevoked
			if test.want {
				want, status = []iap.EventType{iap.EventRefundReversed}, iap.StatusActive
			}
			if diff := cmp.Diff(want, events); diff != "" || s.Status != status {
				t.Errorf("status %s, events (-want +got)\n%s", s.Status, diff)
			}
			if diff := cmp.Diff(want, purchaseEvents); diff != "" || p.RevocationDate.IsZero() != test.want {
				t.Errorf("purchase %+v, events (-want +got)\n%s", p, diff)
			}
		})
	}
}

// TestLaterPeriodTakesNothingBack has a refunded customer who buys again.
func TestLaterPeriodTakesNothingBack(t *testing.T) {
	t.Parallel()
	s := shown(t, facts(period("2", 20*day, refunded(day)), renewal()))
	s = mustMerge(t, s, shown(t, telling(now.Add(time.Hour), period("3", 30*day), renewal())), iap.ProgressMerged)
	if s.Status != iap.StatusActive || len(s.Revocations) != 1 {
		t.Errorf("got %s with revocations %v, want active, and the refund kept", s.Status, s.Revocations)
	}
}

// TestConfirmationIsPlanned looks at the next check after a reply that shows a
// refund as taken back.
func TestConfirmationIsPlanned(t *testing.T) {
	t.Parallel()
	at := now.Add(time.Hour)
	s := mustMerge(t, shown(t, facts(period("2", 20*day, refunded(40*day)), renewal())), shown(t, telling(at, period("2", 20*day), renewal())), iap.ProgressMerged)
	p, _ := iap.MergePurchase(iap.Purchase{TransactionID: "8", RevocationDate: now.Add(-90 * day), AsOf: now}, iap.Purchase{TransactionID: "8", AsOf: at})
	for name, c := range map[string]iap.Conclusion{
		"subscription": {Subscriptions: []iap.Subscription{s}}, "purchase": {Purchases: []iap.Purchase{p}},
	} {
		next := iap.DefaultPolicy().Plan(c, at, 1)
		if wait := next.At.Sub(at); next.Rule != iap.RuleRefundReversal || wait < day || wait > day+time.Hour {
			t.Errorf("%s: next check after %s by %s, want a day by %s", name, wait, next.Rule, iap.RuleRefundReversal)
		}
		// The check came, and did not show the period any more.
		if next := iap.DefaultPolicy().Plan(c, at.Add(2*day), 1); !next.At.IsZero() && next.At.Before(at.Add(3*day)) {
			t.Errorf("%s: next check after that one at %s by %s, want none so soon", name, next.At, next.Rule)
		}
	}
}

// TestRefundBeforeThePeriodBegins has a renewal that Apple made early, and that is
// refunded while the period before it still runs.
func TestRefundBeforeThePeriodBegins(t *testing.T) {
	t.Parallel()
	running, ahead := period("2", 10*time.Hour), period("3", 30*day+10*time.Hour)
	lostAhead := ahead
	lostAhead.CancellationDate = now.Add(time.Hour)
	at := now.Add(2 * time.Hour)
	tests := []struct {
		name          string
		before, after *iap.Facts
		events        []iap.EventType
	}{
		{"both are shown", facts(running, ahead, renewal()), telling(at, running, lostAhead, renewal()), []iap.EventType{iap.EventRefunded}},
		{"the renewal was not known", facts(running, renewal()), telling(at, lostAhead, renewal()), []iap.EventType{iap.EventRefunded}},
		{"only the renewal is shown", facts(ahead, renewal()), telling(at, lostAhead, renewal()), []iap.EventType{iap.EventRefunded}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := shown(t, test.before)
			s := mustMerge(t, before, shown(t, test.after), iap.ProgressMerged)
			if s.Status != iap.StatusActive || !s.ExpiresDate.Equal(running.ExpiresDate) {
				t.Fatalf("got %s until %s, want active until %s", s.Status, s.ExpiresDate, running.ExpiresDate)
			}
			if diff := cmp.Diff(test.events, types(iap.Changes(&before, s, now))); diff != "" {
				t.Errorf("events of the refund (-want +got)\n%s", diff)
			}
			over := mustMerge(t, s, shown(t, telling(now.Add(11*time.Hour), running, lostAhead, renewal())), iap.ProgressMerged)
			changes := iap.Changes(&s, over, now)
			if diff := cmp.Diff([]iap.EventType{iap.EventExpired}, types(changes)); diff != "" || !changes[0].At.Equal(running.ExpiresDate) {
				t.Errorf("%s; events when the running period ends (-want +got)\n%s", over.Status, diff)
			}
		})
	}
}

// TestFirstBoughtIsTheEarliest has records of one chain that disagree, in one reply
// and from one reply to the next.
func TestFirstBoughtIsTheEarliest(t *testing.T) {
	t.Parallel()
	since := func(days time.Duration) func(*iap.Transaction) {
		return func(t *iap.Transaction) { t.OriginalPurchaseDate = now.Add(-days * day) }
	}
	s := shown(t, facts(period("1", -20*day, since(50)), period("2", 10*day, since(20))))
	if !s.OriginalPurchaseDate.Equal(now.Add(-50 * day)) {
		t.Errorf("first bought %s, want 50 days ago", s.OriginalPurchaseDate)
	}
	s = mustMerge(t, s, shown(t, telling(now.Add(day), period("2", 10*day, since(20)))), iap.ProgressMerged)
	if !s.OriginalPurchaseDate.Equal(now.Add(-50 * day)) {
		t.Errorf("first bought %s, want 50 days ago, as was known", s.OriginalPurchaseDate)
	}
	both := &iap.Facts{AsOf: now}
	both.AddTransaction(period("2", 10*day, since(50)), iap.ListReceipt)
	both.AddTransaction(period("2", 10*day, since(20)), iap.ListLatest)
	if s := shown(t, both); !s.OriginalPurchaseDate.Equal(now.Add(-50 * day)) {
		t.Errorf("first bought %s, want the earlier of both lists", s.OriginalPurchaseDate)
	}
}

func TestPlanAfter(t *testing.T) {
	t.Parallel()
	policy := iap.DefaultPolicy()
	active := iap.Conclusion{AsOf: now, Subscriptions: []iap.Subscription{state(iap.StatusActive, "1", 20*day)}}
	passed := iap.Conclusion{AsOf: now, Subscriptions: []iap.Subscription{state(iap.StatusActive, "1", -time.Hour)}}
	over := iap.Conclusion{AsOf: now, Subscriptions: []iap.Subscription{state(iap.StatusExpired, "1", -800*day)}}
	tests := []struct {
		name    string
		c       iap.Conclusion
		brought iap.Brought
		at      time.Time
		wait    time.Duration // exactly, or -1 where it is Plan's
		rule    iap.Rule
	}{
		{"news", active, iap.Brought{News: true}, now, -1, iap.RuleRenewal},
		{"nothing new, and nothing soon", active, iap.Brought{}, now, -1, iap.RuleRenewal},
		{"nothing new, and an expiry that has passed", passed, iap.Brought{}, now, time.Hour, iap.RuleRenewal},
		{"shows less of one, and brings news of the other", active, iap.Brought{News: true, ShowsLess: true}, now, time.Hour, iap.RuleShowsLess},
		{"shows less of all", iap.Conclusion{AsOf: now}, iap.Brought{ShowsLess: true}, now, time.Hour, iap.RuleShowsLess},
		{"shows less of one, and the other is over", over, iap.Brought{ShowsLess: true}, now, time.Hour, iap.RuleShowsLess},
		{"settled stays settled", over, iap.Brought{}, now, -1, iap.RuleSettled},
		{"never in the past", active, iap.Brought{News: true}, now.Add(365 * day), time.Hour, iap.RuleRenewal},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := policy.PlanAfter(test.c, test.brought, test.at, time.Hour, 7)
			if want := policy.Plan(test.c, now, 7).At; test.wait < 0 && !got.At.Equal(want) || test.wait >= 0 && !got.At.Equal(test.at.Add(test.wait)) {
				t.Errorf("next check %s, planned %s, wait %s", got.At, want, test.wait)
			}
			if got.Rule != test.rule {
				t.Errorf("by %s, want %s", got.Rule, test.rule)
			}
		})
	}
}

// TestNoCheckLiesBeyondTheCeiling plans for states of any kind.
func TestNoCheckLiesBeyondTheCeiling(t *testing.T) {
	t.Parallel()
	policy := iap.DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		c := derive(rapid.SliceOfN(rapid.Custom(anyRecord), 0, 12).Draw(t, "records"))
		if len(c.Subscriptions) > 0 && rapid.Bool().Draw(t, "far") {
			c.Subscriptions[0].ExpiresDate = now.AddDate(100, 0, 0)
			c.Subscriptions[0].Status = rapid.SampledFrom(iap.Statuses()).Draw(t, "status")
		}
		next := policy.Plan(c, now, rapid.Int64().Draw(t, "id"))
		if next.At.After(now.Add(policy.Ceiling())) {
			t.Fatalf("next check %s by %s, later than %s", next.At, next.Rule, policy.Ceiling())
		}
	})
}

// Three replies within minutes of one midnight, saved out of order.
func TestThreeRepliesAroundMidnight(t *testing.T) {
	midnight := now.Add(36 * time.Hour)
	s := shown(t, telling(now.Add(-10*day), period("2", -day)))
	for _, at := range []time.Duration{time.Minute, -time.Minute, 2 * time.Minute} {
		s = mustMerge(t, s, unseen(s, midnight.Add(at)), iap.ProgressShowsLess)
	}
	if s.UnshownReplies >= 3 || s.Status == iap.StatusExpired {
		t.Fatalf("replies of 2 days, 3 minutes apart: %s after %d", s.Status, s.UnshownReplies)
	}
}

// Two replies a few minutes apart, saved in either order, must end in one state.
func TestGraceEndsInEitherOrder(t *testing.T) {
	first := shown(t, telling(now, period("2", -10*day), renewal()))
	older := shown(t, telling(now.Add(time.Hour), period("2", -10*day), renewal(inRetry, graceUntil(6*day))))
	newer := shown(t, transactionStyle(telling(now.Add(time.Hour+time.Minute), period("2", -10*day), renewal())))
	a, _ := iap.Merge(first, older)
	a, _ = iap.Merge(a, newer)
	b, _ := iap.Merge(first, newer)
	b, _ = iap.Merge(b, older)
	if a.Status != b.Status {
		t.Fatalf("in the order of Apple's time %s, the older one saved last %s", a.Status, b.Status)
	}
}

// A period that was revoked is shown as paid once (a backfill with all transactions),
// and no later reply shows it at all (exclude-old-transactions, the default).
func TestReversalIsNotConfirmedForEver(t *testing.T) {
	policy := iap.DefaultPolicy()
	old := period("1", -5*day, func(t *iap.Transaction) { t.CancellationDate = now.Add(-6 * day) })
	running := period("2", 25*day)
	s := shown(t, telling(now, old, running, renewal()))
	s = mustMerge(t, s, shown(t, telling(now.Add(time.Hour), period("1", -5*day), running, renewal())), iap.ProgressMerged)
	for at := now.Add(26 * time.Hour); at.Before(now.Add(40 * time.Hour)); at = at.Add(time.Hour) {
		s = mustMerge(t, s, shown(t, telling(at, running, renewal())), iap.ProgressMerged)
		next := policy.PlanAfter(iap.Conclusion{AsOf: at, Subscriptions: []iap.Subscription{s}}, iap.Brought{News: true}, at, 15*time.Minute, 1)
		if !next.At.After(at) {
			t.Fatalf("checked at %s, next check %s (%s): due at once, for ever", at, next.At, next.Rule)
		}
	}
}

// The same for a one-time purchase that later replies show only as it was when the
// receipt was signed.
func TestPurchaseReversalIsNotConfirmedForEver(t *testing.T) {
	policy := iap.DefaultPolicy()
	p := iap.Purchase{TransactionID: "8", PurchaseDate: now.Add(-10 * day), RevocationDate: now.Add(-day), AsOf: now}
	paid := iap.Purchase{TransactionID: "8", PurchaseDate: now.Add(-10 * day), AsOf: now.Add(time.Hour)}
	p, _ = iap.MergePurchase(p, paid)
	at := now.Add(26 * time.Hour)
	paid.AsOf, paid.Stale = at, true
	p, _ = iap.MergePurchase(p, paid)
	next := policy.PlanAfter(iap.Conclusion{AsOf: at, Purchases: []iap.Purchase{p}}, iap.Brought{News: true}, at, 15*time.Minute, 1)
	if !next.At.After(at) {
		t.Fatalf("checked at %s, next check %s (%s): due at once", at, next.At, next.Rule)
	}
}

// One period has two transaction ids (it was restored), and was refunded.
func TestRestoredPeriodIsRefundedOnce(t *testing.T) {
	wol := webOrder("77")
	before := shown(t, telling(now, period("2", 10*day, wol), period("3", 10*day, wol), renewal()))
	cancelled := func(t *iap.Transaction) { t.CancellationDate = now }
	after := mustMerge(t, before, shown(t, telling(now.Add(time.Hour), period("2", 10*day, wol, cancelled), period("3", 10*day, wol, cancelled), renewal())), iap.ProgressMerged)
	n := 0
	for _, c := range iap.Changes(&before, after, now) {
		if c.Type == iap.EventRefunded {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d events of one period's refund: %+v", n, after.Revocations)
	}
	// The other id of the same period is shown as refunded first, then only one of them.
	again, _ := iap.Merge(after, shown(t, telling(now.Add(2*time.Hour), period("3", 10*day, wol, cancelled), renewal())))
	for _, c := range iap.Changes(&after, again, now) {
		t.Errorf("a reply that shows one of the ids only: %+v", c)
	}
}

// The newer facts are of a signed transaction and show nothing of revocations.
func TestRevocationOfAnOlderSource(t *testing.T) {
	before := shown(t, telling(now, period("0", -35*day), period("1", -5*day)))
	signed := shown(t, telling(now.Add(5*time.Minute), period("2", 25*day)))
	signed.Tells, signed.ToldAt = iap.GroupPeriod, iap.ToldAt{PeriodAsOf: signed.AsOf}
	s := mustMerge(t, before, signed, iap.ProgressMerged)
	older := shown(t, telling(now.Add(4*time.Minute), period("1", -5*day),
		period("0", -35*day, func(t *iap.Transaction) { t.CancellationDate = now })))
	s, progress := iap.Merge(s, older)
	if len(s.Revocations) != 1 {
		t.Fatalf("progress %d, revocations %v: an older source that tells another group is locked out", progress, s.Revocations)
	}
}

// The record of the newest period came without a purchase date.
func TestOlderPeriodWithoutPurchaseDate(t *testing.T) {
	before := shown(t, telling(now, period("9", 20*day, func(t *iap.Transaction) { t.PurchaseDate = time.Time{} })))
	old := shown(t, telling(now.Add(time.Hour), period("2", -730*day)))
	if s, progress := iap.Merge(before, old); progress != iap.ProgressShowsLess {
		t.Fatalf("progress %d, %s until %s", progress, s.Status, s.ExpiresDate)
	}
}
