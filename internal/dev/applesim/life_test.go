package applesim

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTruth follows hand-made lives. All begin with a monthly subscription on
// the 1st of January 2026, unless they say otherwise; acts happen at 45 % of a
// period: 13.95 days into January.
func TestTruth(t *testing.T) {
	t.Parallel()
	bought := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	on := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 12, 0, 0, 0, time.UTC) }
	type state struct {
		Status    Status
		Expires   string // its day
		AutoRenew bool
		Next      string // the part of the product id that differs
		Intent    string
		Retry     bool
		GraceEnds string
		Price     string
		Cancelled bool
		Trial     bool
		Upgraded  int
	}
	active := func(expires string) state {
		return state{Status: StatusActive, Expires: expires, AutoRenew: true, Next: "monthly"}
	}
	off := func(s state) state { s.AutoRenew = false; return s }
	expired := func(expires, intent string) state {
		return state{Status: StatusExpired, Expires: expires, Next: "monthly", Intent: intent}
	}
	retrying := state{Status: StatusBillingRetry, Expires: "2026-02-01", AutoRenew: true, Next: "monthly", Intent: "2", Retry: true}
	grace := retrying
	grace.Status, grace.GraceEnds = StatusGracePeriod, "2026-02-17"
	revoked := state{Status: StatusRevoked, Expires: "2026-02-01", Next: "monthly", Cancelled: true}
	asking := active("2026-02-01")
	asking.Price = "0"
	agreed := active("2026-02-01")
	agreed.Price = "1"
	trial := active("2026-01-08")
	trial.Trial = true
	lower := active("2026-02-01")
	lower.Next = "weekly"
	weekly := active("2026-02-08")
	weekly.Next = "weekly"
	ahead := revoked
	ahead.Expires = "2026-03-01"
	yearly := state{Status: StatusActive, Expires: "2027-01-14", AutoRenew: true, Next: "yearly", Upgraded: 1}

	tests := []struct {
		name string
		life Story
		when time.Time
		want state
	}{
		{"before it", Story{}, bought.Add(-time.Hour), state{}},
		{"first period", Story{}, on(1, 5), active("2026-02-01")},
		{"renews", Story{}, on(2, 5), active("2026-03-01")},
		{"free trial", Story{Offer: OfferTrial}, on(1, 5), trial},
		{"after the trial", Story{Offer: OfferTrial}, on(1, 9), active("2026-02-08")},
		{"not turned off yet", Story{Acts: []Act{ActTurnOff}}, on(1, 5), active("2026-02-01")},
		{"turned off", Story{Acts: []Act{ActTurnOff}}, on(1, 25), off(active("2026-02-01"))},
		{"lapsed", Story{Acts: []Act{ActTurnOff}}, on(2, 5), expired("2026-02-01", "1")},
		{"resubscribed", Story{Acts: []Act{ActTurnOff}, Resubscribe: 10 * 24 * time.Hour}, on(2, 12), active("2026-03-11")},
		{"in grace", Story{Acts: []Act{ActRecoverInGrace}}, on(2, 5), grace},
		{"recovered in grace keeps the date", Story{Acts: []Act{ActRecoverInGrace}}, on(2, 10), active("2026-03-01")},
		{"no grace in the app", Story{BundleID: fitness, Acts: []Act{ActRecoverInGrace}}, on(2, 5), retrying},
		{"recovered without grace moves the date", Story{BundleID: fitness, Acts: []Act{ActRecoverInGrace}}, on(3, 5), active("2026-04-03")},
		{"retry after grace", Story{Acts: []Act{ActRecoverLate}}, on(2, 20), retrying},
		{"recovered late moves the date", Story{Acts: []Act{ActRecoverLate}}, on(3, 20), active("2026-04-11")},
		{"retried for 60 days", Story{Acts: []Act{ActBillingLapse}}, on(4, 1), retrying},
		{"lapsed by billing", Story{Acts: []Act{ActBillingLapse}}, on(4, 2), expired("2026-02-01", "2")},
		{"refunded", Story{Acts: []Act{ActRefund}}, on(1, 20), revoked},
		{"stays refunded", Story{Acts: []Act{ActRefund}}, on(5, 20), revoked},
		{"refund reversed", Story{Acts: []Act{ActRefundReversed}}, on(1, 20), off(active("2026-02-01"))},
		{"refund reversed, then over", Story{Acts: []Act{ActRefundReversed}}, on(2, 20), expired("2026-02-01", "1")},
		{"older period refunded", Story{Acts: []Act{ActRenew, ActRefundPrevious}}, on(2, 20), active("2026-03-01")},
		{"renewal bought ahead", Story{Acts: []Act{ActRefundAhead}}, on(1, 31).Add(time.Hour), active("2026-03-01")},
		{"renewal refunded ahead", Story{Acts: []Act{ActRefundAhead}}, on(1, 31).Add(7 * time.Hour), off(active("2026-02-01"))},
		{"refunded ahead, then over", Story{Acts: []Act{ActRefundAhead}}, on(2, 1), ahead},
		{"refunded ahead, came back", Story{Acts: []Act{ActRefundAhead}, Resubscribe: 24 * time.Hour}, on(2, 3), active("2026-03-02")},
		{"upgraded", Story{Acts: []Act{ActUpgrade}}, on(1, 20), yearly},
		{"downgrade scheduled", Story{Acts: []Act{ActDowngrade}}, on(1, 20), lower},
		{"downgraded", Story{Acts: []Act{ActDowngrade}}, on(2, 2), weekly},
		{"renewal date moved", Story{Acts: []Act{ActExtend}}, on(1, 20), active("2026-02-11")},
		{"renewed after that", Story{Acts: []Act{ActExtend}}, on(2, 12), active("2026-03-11")},
		{"price increase pending", Story{Acts: []Act{ActPriceAccepted}}, on(1, 16), asking},
		{"price increase accepted", Story{Acts: []Act{ActPriceAccepted}}, on(1, 29), agreed},
		{"price increase refused", Story{Acts: []Act{ActPriceRefused}}, on(2, 2), expired("2026-02-01", "3")},
		{"product withdrawn", Story{Acts: []Act{ActWithdrawn}}, on(2, 2), expired("2026-02-01", "4")},
	}
	var stories []Story
	for _, test := range tests {
		test.life.Bought, test.life.Period = bought, Monthly
		if test.life.BundleID == "" {
			test.life.BundleID = reader
		}
		stories = append(stories, test.life)
	}
	s := newSim(t, Config{Stories: stories})
	dayOf := func(ms int64) string {
		if ms == 0 {
			return ""
		}
		return millis(ms).time().Format(time.DateOnly)
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			now := at(test.when)
			truth := s.population.customer(i, now).truth(now)
			var got state
			for _, sub := range truth.Subscriptions {
				got = state{
					Status: sub.Status, Expires: dayOf(sub.ExpiresDate), Cancelled: sub.CancellationDate != 0,
					Trial: sub.IsTrialPeriod, Upgraded: len(sub.Upgraded), AutoRenew: sub.Renewal.AutoRenewStatus,
					Next:   strings.TrimPrefix(sub.Renewal.AutoRenewProductID, stories[i].BundleID+".plus."),
					Intent: sub.Renewal.ExpirationIntent, Retry: sub.Renewal.IsInBillingRetryPeriod,
					GraceEnds: dayOf(sub.Renewal.GracePeriodExpiresDate), Price: sub.Renewal.PriceConsentStatus,
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("truth on %s (-want +got):\n%s", test.when, diff)
			}
		})
	}
}

func TestTruthOfFamilyPurchasesAndSandbox(t *testing.T) {
	t.Parallel()
	bought := start.Add(-20 * 24 * time.Hour)
	s := newSim(t, Config{Stories: []Story{
		{BundleID: reader, Bought: bought, Period: Monthly, Family: true, Acts: []Act{ActFamilyLoss}},
		{BundleID: reader, Bought: bought, RefundedAt: start.Add(-time.Hour), PadRecords: 2},
		{BundleID: reader, Bought: start.Add(-12 * time.Minute), Period: Monthly, Environment: Sandbox},
		{BundleID: reader, ReceiptCreated: bought},
	}})
	truths := make([]Truth, 0, 4)
	for truth := range s.Truth() {
		truths = append(truths, truth)
	}
	family := truths[0].Subscriptions[0]
	if family.Status != StatusRevoked || family.InAppOwnershipType != "FAMILY_SHARED" || family.Renewal != nil {
		t.Errorf("lost family sharing: got %+v", family)
	}
	if got := truths[1].Purchases; len(got) != 3 || got[0].CancellationDate == 0 || got[1].CancellationDate != 0 {
		t.Errorf("refunded purchase and two consumables: got %+v", got)
	}
	sandbox := truths[2]
	wantExpires := int64(at(start.Add(3 * time.Minute)))
	if got := sandbox.Subscriptions[0]; sandbox.Environment != Sandbox || got.ExpiresDate != wantExpires {
		t.Errorf("third sandbox month of five minutes: got %s until %d, want until %d", sandbox.Environment, got.ExpiresDate, wantExpires)
	}
	if got := truths[3]; len(got.Subscriptions)+len(got.Purchases) != 0 {
		t.Errorf("customer without purchases: got %+v", got)
	}
}

func TestSandboxSubscriptionRenewsTwelveTimes(t *testing.T) {
	t.Parallel()
	s := newSim(t, Config{Stories: []Story{
		{BundleID: reader, Bought: start, Period: Monthly, Environment: Sandbox},
	}})
	c := s.population.customer(0, at(start.Add(24*time.Hour)))
	if got, want := len(c.chains[0].transactions), 1+sandboxRenewals; got != want {
		t.Errorf("periods within a day: got %d, want %d", got, want)
	}
}
