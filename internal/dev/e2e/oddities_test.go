package e2e

import (
	"slices"
	"testing"
	"time"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/judge"
	"revalidator/internal/runs"
)

// odd is a rule for a share of all calls.
func odd(f applesim.Fault, rate float64) applesim.Rule { return applesim.Rule{Fault: f, Rate: rate} }

// behind is a share of replies that lag by hours, up to days.
func behind(rate float64) applesim.Rule {
	r := odd(applesim.FaultLag, rate)
	r.Age, r.Jitter = applesim.Duration(time.Hour), applesim.Duration(100*time.Hour)
	return r
}

// wrongClocks has the clock be off for a few customers, ahead and behind: no two
// replies agree.
func wrongClocks(customers ...string) []applesim.Rule {
	var rules []applesim.Rule
	for i, ref := range customers {
		r := applesim.Rule{Fault: applesim.FaultClock, Rate: 0.7, CustomerRef: ref, Skew: applesim.Duration(time.Hour), Jitter: applesim.Duration(1000 * time.Hour)}
		if i%2 == 1 {
			r.Skew = applesim.Duration(-1001 * time.Hour)
		}
		rules = append(rules, r)
	}
	return rules
}

// refunds is a life in which refunds of every kind are common.
func refunds() *applesim.Mix {
	mix := applesim.DefaultMix()
	mix.Acts = append(mix.Acts, applesim.Weight{Act: applesim.ActRefundAhead, Weight: 20}, applesim.Weight{Act: applesim.ActRefundReversed, Weight: 20},
		applesim.Weight{Act: applesim.ActRefund, Weight: 10}, applesim.Weight{Act: applesim.ActRefundPrevious, Weight: 10})
	return &mix
}

// TestOddReplies lets weeks go by in which replies are odd in one way or another,
// then one night in which none is. The judge knows what each reply told.
func TestOddReplies(t *testing.T) {
	t.Parallel()
	several := eventful()
	several.Several, several.OldStyle = 0.5, 0.3
	all := *several
	all.OfferCode = 0.2
	everything := append(wrongClocks("customer-0000003", "customer-0000008"),
		odd(applesim.FaultNoRenewal, 0.1), odd(applesim.FaultOlder, 0.1), odd(applesim.FaultBare, 0.1), behind(0.1),
		odd(applesim.FaultFirstDates, 0.1), applesim.Rule{Fault: applesim.FaultUndated, Rate: 0.1, Records: 0.5})
	const (
		changed  = `SELECT count(*) FROM judge.history`
		gone     = `SELECT count(*) FROM subscription_events WHERE evidence = 'no_longer_shown'`
		reversed = `SELECT count(*) FROM subscription_events WHERE type = 'refund_reversed'`
		shared   = `SELECT count(*) FROM (SELECT FROM receipt_subscriptions GROUP BY environment, original_transaction_id HAVING count(*) > 2) s`
	)
	moved := odd(applesim.FaultBare, 1)
	moved.Customers = 0.2
	for i, test := range []struct {
		name  string
		rules []applesim.Rule
		mix   *applesim.Mix
		// proves is a number that must not be 0, or the test proves nothing.
		proves string
	}{
		{"without renewal information", []applesim.Rule{odd(applesim.FaultNoRenewal, 0.5)}, eventful(), changed},
		{"of an older period", []applesim.Rule{odd(applesim.FaultOlder, 0.3)}, eventful(), changed},
		{"of nothing", []applesim.Rule{moved, odd(applesim.FaultBare, 0.3)}, eventful(), gone},
		{"of a replica that lags", []applesim.Rule{behind(0.4)}, eventful(), changed},
		{"by wrong clocks", wrongClocks("customer-0000001", "customer-0000004", "customer-0000005", "customer-0000009"), eventful(), changed},
		{"without dates", []applesim.Rule{{Fault: applesim.FaultUndated, Rate: 0.5, Records: 0.5}}, eventful(), changed},
		{"with other first dates", []applesim.Rule{odd(applesim.FaultFirstDates, 0.5)}, eventful(), changed},
		{"of refunds", []applesim.Rule{behind(0.2)}, refunds(), reversed},
		{"of one customer's receipts", nil, several, shared},
		{"of every kind", everything, &all, shared},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, applesim.Config{Seed: 17, Customers: 100, Receipts: 3, Mix: test.mix}, 5000, 1000)
			n.excludeOld = i%2 == 0
			n.liveWith(test.rules, 25, 23*time.Hour, test.proves == reversed)
			if n.count(test.proves) == 0 {
				t.Error("what was to be seen never happened")
			}
		})
	}
}

// TestRefundsAhead has a check every eleven hours while renewals are bought, and
// refunded before they begin.
func TestRefundsAhead(t *testing.T) {
	t.Parallel()
	var stories []applesim.Story
	soon := time.Now().UTC().Truncate(time.Second).AddDate(0, -2, 0)
	for hour := range 48 {
		stories = append(stories, applesim.Story{
			BundleID: "com.example.reader", Bought: soon.Add(time.Duration(hour) * time.Hour), Period: applesim.Monthly,
			// The receipt is of the period before, and so tells nothing of this one.
			Acts: []applesim.Act{applesim.ActRenew, applesim.ActRefundAhead}, Resubscribe: time.Duration(hour%2) * 12 * time.Hour,
		})
	}
	stories = append(stories, applesim.Story{BundleID: "com.example.reader", Bought: soon}) // the judge wants a purchase
	n := newNight(t, applesim.Config{Stories: stories}, 5000, 1000)
	n.excludeOld = true
	n.liveWith(nil, 8, 11*time.Hour, true)
	const (
		running = `SELECT count(DISTINCT version->>'original_transaction_id') FROM judge.history WHERE version->>'status' = 'active' AND version->>'revocations' <> ''`
		ended   = `SELECT count(*) FROM subscription_events WHERE type = 'expired' AND after->>'status' = 'revoked'`
	)
	if active, over := n.count(running), n.count(ended); active < 20 || over < 20 {
		t.Errorf("%d were seen active after the refund of the next period, and %d to end then; want most of 48", active, over)
	}
}

// runThrough is a run in which time goes by when nothing is left but receipts that
// wait for a reply by a better clock.
func (n *night) runThrough(name string) runs.Totals {
	n.t.Helper()
	done := n.running(name)
	for poll := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case totals := <-done:
			poll.Stop()
			return totals
		case <-poll.C:
			if n.count(`SELECT count(*) FROM receipts WHERE claimed_until IS NOT NULL OR next_check_at <= '`+n.now().Format(time.RFC3339Nano)+`'`) == 0 &&
				n.count(`SELECT count(*) FROM receipts WHERE run_id IS NOT NULL`) > 0 {
				n.goBy(2 * time.Minute)
			}
		}
	}
}

// liveWith has replies be odd for some nights, and judges after one more without.
// All receipts are due each time, or those that are.
func (n *night) liveWith(rules []applesim.Rule, nights int, every time.Duration, all bool) {
	n.t.Helper()
	must(n.t, n.judge().Watch(n.t.Context()))
	stop := n.beside(n.worker().Run)
	defer stop()
	n.run("first")
	must(n.t, n.sim.SetFaults(rules))
	begin := n.run
	if slices.ContainsFunc(rules, func(r applesim.Rule) bool { return r.Fault == applesim.FaultClock }) {
		begin = n.runThrough
	}
	var since int64
	var run runs.Totals
	for i := range nights {
		n.goBy(every)
		since = n.lastRequest()
		if i == nights-1 {
			must(n.t, n.sim.SetFaults(nil))
		}
		if i == nights-1 {
			n.exec(`UPDATE receipts SET covered_by = NULL, next_check_rule = 'renewal'`) // each of them is asked about
		}
		if all || i == nights-1 {
			n.exec(`UPDATE receipts SET next_check_at = $1`, n.now())
		}
		run = begin("odd")
	}
	v, err := n.judge().Judge(n.t.Context(), judge.Case{RunID: run.ID, Since: since, Started: n.now(), Rate: 5000, Burst: 1000, RateSlack: time.Second})
	must(n.t, err)
	for _, complaint := range v.Complaints {
		n.t.Error(complaint)
	}
}
