package repository_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/claim"
	"revalidator/internal/iap"
	"revalidator/internal/runs"
	"revalidator/repository"
)

// monthly is a period of a subscription that ends at an offset from noon.
func monthly(id, original string, end time.Duration) iap.Transaction {
	return iap.Transaction{
		TransactionID: id, OriginalTransactionID: original, ProductID: "monthly",
		PurchaseDate: noon.Add(end - 30*day), ExpiresDate: noon.Add(end),
	}
}

// checks gives one receipt one reply after the other.
type checks struct {
	fixture
	runs int
}

func openChecks(t *testing.T) *checks {
	f := open(t)
	f.receipts(app, 1)
	return &checks{fixture: f}
}

// reply stores what Apple says at an offset from noon, and returns what was saved.
func (c *checks) reply(at time.Duration, records ...any) claim.Saved {
	c.t.Helper()
	f := &iap.Facts{AsOf: noon.Add(at), Environment: iap.Production, BundleID: app}
	for _, r := range records {
		switch r := r.(type) {
		case iap.Transaction:
			f.AddTransaction(r, iap.ListLatest)
		case iap.RenewalInfo:
			f.AddRenewalInfo(r)
		}
	}
	return c.save(at, iap.Derive(f))
}

func (c *checks) save(at time.Duration, told iap.Conclusion) claim.Saved {
	c.t.Helper()
	c.runs++
	_, err := c.Recheck(c.t.Context(), []int64{1}, noon.Add(at))
	c.must(err)
	run, err := c.OpenRun(c.t.Context(), runs.Run{
		Kind: runs.Manual, ScheduledFor: noon.Add(time.Duration(c.runs) * time.Second), Cutoff: noon.Add(at), Deadline: noon.Add(at + 8*time.Hour),
	}, runs.Lease{Owner: "test", Until: noon.Add(at + time.Minute)}, noon.Add(at))
	c.must(err)
	claims, err := c.Claim(c.t.Context(), claim.Request{
		RunID: run.ID, Cutoff: run.Cutoff, Now: noon.Add(at), Until: noon.Add(at + time.Minute), Ahead: time.Minute, Limit: 1,
	})
	c.must(err)
	if len(claims) != 1 {
		c.t.Fatalf("claimed %d receipts, want one", len(claims))
	}
	o := success(claims[0], run, noon)
	o.At, o.Conclusion = noon.Add(at), &told
	saved, err := c.SaveOutcomes(c.t.Context(), []claim.Outcome{o})
	c.must(err)
	return saved[0]
}

func (c *checks) status(original string) iap.Status {
	c.t.Helper()
	stored, err := c.SubscriptionsOf(c.t.Context(), nil, app, original)
	c.must(err)
	if len(stored) != 1 {
		c.t.Fatalf("%d subscriptions with the id %s, want one", len(stored), original)
	}
	return stored[0].Status
}

func renewing(original string, change ...func(*iap.RenewalInfo)) iap.RenewalInfo {
	r := iap.RenewalInfo{OriginalTransactionID: original, ProductID: "monthly", AutoRenewProductID: "monthly", AutoRenewStatus: new(true)}
	for _, c := range change {
		c(&r)
	}
	return r
}

// TestReplyThatShowsLess has an active subscription, and replies that do not show
// it as far as it is known.
func TestReplyThatShowsLess(t *testing.T) {
	old := monthly("2", "1", -730*day)
	old.PurchaseDate = noon.Add(-1095 * day)
	for name, less := range map[string][]any{"a period of two years ago": {old, renewing("1")}, "no purchases": nil} {
		t.Run(name, func(t *testing.T) {
			c := openChecks(t)
			c.reply(0, monthly("5", "1", 20*day), renewing("1"))
			for _, at := range []time.Duration{time.Hour, 20*day + time.Hour, 21*day + time.Hour} {
				got := c.reply(at, less...)
				want := claim.Saved{Held: true, Failure: claim.ClassShowsLess, NextCheck: iap.Check{At: noon.Add(at + time.Hour), Rule: iap.RuleShowsLess}}
				if diff := cmp.Diff(want, got); diff != "" || c.status("1") != iap.StatusActive {
					t.Fatalf("after %s: %s, saved (-want +got)\n%s", at, c.status("1"), diff)
				}
			}
			c.reply(22*day+time.Hour, less...)
			if got := c.status("1"); got != iap.StatusExpired {
				t.Fatalf("after three days: %s, want expired", got)
			}
			events, _, err := c.Events(t.Context(), repository.EventQuery{Limit: 10})
			c.must(err)
			last := events[len(events)-1]
			if last.Type != iap.EventExpired || last.Evidence == nil || *last.Evidence != "no_longer_shown" {
				t.Errorf("last event: %+v, want expired because it is no longer shown", last)
			}
			if got := c.reply(23*day, less...); got.Failure != "" || got.NextCheck.Rule == iap.RuleShowsLess {
				t.Errorf("saved %+v, want what is planned for an expired subscription", got)
			}
		})
	}
}

// TestReplyWithoutRenewalInformation has a subscription in grace.
func TestReplyWithoutRenewalInformation(t *testing.T) {
	c := openChecks(t)
	c.reply(0, monthly("5", "1", -day), renewing("1", func(r *iap.RenewalInfo) {
		r.IsInBillingRetryPeriod, r.GracePeriodExpiresDate = new(true), noon.Add(10*day)
	}))
	before := c.told()
	got := c.reply(day, monthly("5", "1", -day))
	if status := c.status("1"); status != iap.StatusGracePeriod || got.NextCheck.Rule != iap.RuleGracePeriod {
		t.Errorf("%s, next check by %s; want grace", status, got.NextCheck.Rule)
	}
	if diff := cmp.Diff(before, c.told()); diff != "" {
		t.Errorf("events (-before +after)\n%s", diff)
	}
}

// TestUndatedReplyProvesNothing has a subscription that replies go on to show, without
// a date that can be read.
func TestUndatedReplyProvesNothing(t *testing.T) {
	c := openChecks(t)
	c.reply(0, monthly("5", "1", day), renewing("1"))
	undated := monthly("5", "1", day)
	undated.ExpiresDate, undated.IsExpiryUnreadable = time.Time{}, true
	for n := range 5 {
		at := time.Duration(n+2) * day
		got := c.reply(at, undated, renewing("1"))
		if status := c.status("1"); status != iap.StatusActive || got.Failure != "" || !got.NextCheck.At.After(noon.Add(at)) || got.NextCheck.At.After(noon.Add(at+8*day)) {
			t.Fatalf("after %s: %s, saved %+v; want it as it was, and a check within a week", at, status, got)
		}
	}
}

// TestOlderReplyDoesNotPlan has a reply that is older than what is stored, of a
// subscription whose expiry has passed.
func TestOlderReplyDoesNotPlan(t *testing.T) {
	c := openChecks(t)
	c.reply(0, monthly("5", "1", time.Hour), renewing("1"))
	o := iap.Facts{AsOf: noon.Add(-time.Hour), Environment: iap.Production, BundleID: app}
	o.AddTransaction(monthly("5", "1", -730*day), iap.ListLatest)
	got := c.save(2*time.Hour, iap.Derive(&o))
	if status := c.status("1"); status != iap.StatusActive || got.Failure != "" {
		t.Errorf("%s, class %q; want what is stored, and no failure", status, got.Failure)
	}
	if want := (iap.Check{At: noon.Add(3 * time.Hour), Rule: iap.RuleRenewal, OriginalTransactionID: "1"}); got.NextCheck != want {
		t.Errorf("next check %+v, want %+v: after the back-off", got.NextCheck, want)
	}
}

// TestPlannedFromEverythingShown has a receipt that shows two subscriptions, and a
// reply that tells of one.
func TestPlannedFromEverythingShown(t *testing.T) {
	c := openChecks(t)
	other := monthly("6", "6", 2*day)
	other.TransactionID = "6"
	c.reply(0, monthly("5", "1", 20*day), renewing("1"), monthly("6", "6", -800*day))
	got := c.reply(time.Hour, monthly("5", "1", 20*day), renewing("1"))
	if got.Failure != claim.ClassShowsLess || got.NextCheck.Rule != iap.RuleShowsLess {
		t.Errorf("saved %+v, want %s for the subscription that is not shown", got, claim.ClassShowsLess)
	}
	got = c.reply(2*time.Hour, monthly("5", "1", 20*day), renewing("1"), other)
	if got.NextCheck.Rule != iap.RuleRenewal || got.NextCheck.OriginalTransactionID != "6" || got.Failure != "" {
		t.Errorf("saved %+v, want the renewal of the one that expires first", got)
	}
}

// TestStoredPurchaseIsPlannedFor has a reply that shows no purchases any more, for a
// receipt with one that can still be refunded.
func TestStoredPurchaseIsPlannedFor(t *testing.T) {
	c := openChecks(t)
	c.reply(0, iap.Transaction{TransactionID: "8", ProductID: "lifetime", PurchaseDate: noon.Add(-time.Hour)})
	got := c.reply(day)
	if got.NextCheck.Rule != iap.RulePurchaseSweep || got.NextCheck.OriginalTransactionID != "8" {
		t.Errorf("next check %+v, want %s", got.NextCheck, iap.RulePurchaseSweep)
	}
}

// TestReceiptWithoutPurchases has a customer who never bought anything.
func TestReceiptWithoutPurchases(t *testing.T) {
	c := openChecks(t)
	for _, at := range []time.Duration{0, day} {
		if got := c.reply(at); got.Failure != "" || got.NextCheck.Rule != iap.RuleNoPurchases {
			t.Errorf("saved %+v, want %s", got, iap.RuleNoPurchases)
		}
	}
}

// TestUnscheduledSubscriptions takes the next check of a receipt away behind the
// program's back.
func TestUnscheduledSubscriptions(t *testing.T) {
	f := openObserved(t, 4)
	f.receipts(app, 1)
	c := &checks{fixture: f.fixture}
	c.reply(0, monthly("5", "1", day), renewing("1"))
	unscheduled := func(at time.Duration) int64 {
		t.Helper()
		keys, err := f.UnscheduledSubscriptions(t.Context(), noon.Add(at), 5)
		f.must(err)
		backlog, err := f.Backlog(t.Context(), noon.Add(at), 5)
		f.must(err)
		if backlog.Unscheduled != int64(len(keys)) {
			t.Errorf("counted %d, listed %v", backlog.Unscheduled, keys)
		}
		return backlog.Unscheduled
	}
	if n := unscheduled(2 * day); n != 0 {
		t.Errorf("with a next check: %d", n)
	}
	_, err := f.raw.ExecContext(t.Context(), `UPDATE receipts SET next_check_at = NULL`)
	f.must(err)
	if before, after := unscheduled(0), unscheduled(2*day); before != 0 || after != 1 {
		t.Errorf("without one: %d before the expiry and %d after it, want 0 and 1", before, after)
	}
}

// A receipt is linked to subscriptions of two environments: it moved from one to the other.
func TestReceiptOfTwoEnvironments(t *testing.T) {
	c := openChecks(t)
	sandbox := &iap.Facts{AsOf: noon, Environment: iap.Sandbox, BundleID: app}
	sandbox.AddTransaction(monthly("5", "1", day), iap.ListLatest)
	c.save(0, iap.Derive(sandbox))
	for h := 48; h < 52; h++ {
		at := time.Duration(h) * time.Hour
		saved := c.reply(at, monthly("9", "2", 20*day), renewing("2"))
		t.Logf("hour %d: next check %s after, rule %s", h, saved.NextCheck.At.Sub(noon.Add(at)), saved.NextCheck.Rule)
		if h > 48 && !saved.NextCheck.At.After(noon.Add(at)) {
			t.Fatalf("due at once after each reply: %+v", saved.NextCheck)
		}
	}
}

// Replies show the subscription, with a newest period that Apple does not date.
func TestUndatedPeriodAfterTheKnownOne(t *testing.T) {
	c := openChecks(t)
	c.reply(0, monthly("5", "1", day))
	for d := 2; d < 6; d++ {
		undated := iap.Transaction{TransactionID: "6", OriginalTransactionID: "1", ProductID: "monthly",
			PurchaseDate: noon.Add(day), IsExpiryUnreadable: true}
		saved := c.reply(time.Duration(d)*day, monthly("5", "1", day), undated, renewing("1"))
		t.Logf("day %d: %s, class %q, next %s", d, c.status("1"), saved.Failure, saved.NextCheck.Rule)
	}
	if status := c.status("1"); status != iap.StatusActive {
		t.Errorf("%s, no longer shown: every reply shows the newest known period and one after it", status)
	}
}

// A receipt moved from one environment to the other: nobody asks for the row that it showed before.
func TestSubscriptionOfAnotherEnvironmentEnds(t *testing.T) {
	c := openChecks(t)
	sandbox := &iap.Facts{AsOf: noon, Environment: iap.Sandbox, BundleID: app}
	sandbox.AddTransaction(monthly("5", "1", day), iap.ListLatest)
	c.save(0, iap.Derive(sandbox))
	for d := 2; d < 9; d++ {
		c.reply(time.Duration(d)*day, monthly("9", "2", 20*day), renewing("2"))
	}
	if status := c.status("1"); status == iap.StatusActive {
		t.Errorf("%s a week after its end, after 7 replies", status)
	}
}
