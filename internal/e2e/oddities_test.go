package e2e

import (
	"testing"
	"time"

	"revalidator/internal/applesim"
	"revalidator/internal/judge"
)

// odd is a rule for a share of all calls.
func odd(f applesim.Fault, rate float64) applesim.Rule { return applesim.Rule{Fault: f, Rate: rate} }

// behind is a share of replies that lag by hours, up to days.
func behind(rate float64) applesim.Rule {
	r := odd(applesim.FaultLag, rate)
	r.Age, r.Jitter = applesim.Duration(time.Hour), applesim.Duration(100*time.Hour)
	return r
}

// wrongClocks has the clock be off for a few customers, by a different time for
// each: no two agree.
func wrongClocks(customers ...string) []applesim.Rule {
	var rules []applesim.Rule
	for i, ref := range customers {
		skew := time.Duration(i+1) * 31 * time.Hour
		if i%2 == 1 {
			skew = -skew
		}
		rules = append(rules, applesim.Rule{Fault: applesim.FaultClock, Rate: 0.7, CustomerRef: ref, Skew: applesim.Duration(skew)})
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
	for _, test := range []struct {
		name  string
		rules []applesim.Rule
		mix   *applesim.Mix
	}{
		{"without renewal information", []applesim.Rule{odd(applesim.FaultNoRenewal, 0.5)}, eventful()},
		{"of an older period", []applesim.Rule{odd(applesim.FaultOlder, 0.3)}, eventful()},
		{"of nothing", []applesim.Rule{odd(applesim.FaultBare, 0.4)}, eventful()},
		{"of a replica that lags", []applesim.Rule{behind(0.4)}, eventful()},
		{"by wrong clocks", wrongClocks("customer-0000001", "customer-0000004", "customer-0000005", "customer-0000009"), eventful()},
		{"without dates", []applesim.Rule{{Fault: applesim.FaultUndated, Rate: 0.5, Records: 0.5}}, eventful()},
		{"with other first dates", []applesim.Rule{odd(applesim.FaultFirstDates, 0.5)}, eventful()},
		{"of refunds", []applesim.Rule{behind(0.2)}, refunds()},
		{"of one customer's receipts", nil, several},
		{"of every kind", everything, &all},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t, applesim.Config{Seed: 17, Customers: 120, Receipts: 3, Mix: test.mix}, 5000, 1000)
			n.liveWith(test.rules, 25, 23*time.Hour)
		})
	}
}

// liveWith has replies be odd for some nights, and judges after one more without.
func (n *night) liveWith(rules []applesim.Rule, nights int, every time.Duration) {
	n.t.Helper()
	must(n.t, n.judge().Watch(n.t.Context()))
	stop := n.beside(n.worker().Run)
	defer stop()
	n.run("first")
	must(n.t, n.sim.SetFaults(rules))
	for range nights {
		n.past.Add(int64(every))
		n.sim.Clock().Set(n.now())
		n.run("odd")
	}
	must(n.t, n.sim.SetFaults(nil))
	n.past.Add(int64(every))
	n.sim.Clock().Set(n.now())
	since := n.lastRequest()
	n.exec(`UPDATE receipts SET next_check_at = $1`, n.now())
	run := n.run("last")
	v, err := n.judge().Judge(n.t.Context(), judge.Case{RunID: run.ID, Since: since, Started: n.now(), Rate: 5000, Burst: 1000, RateSlack: time.Second})
	must(n.t, err)
	for _, complaint := range v.Complaints {
		n.t.Error(complaint)
	}
}
