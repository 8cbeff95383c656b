package forecast

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"revalidator/internal/iap"
)

// start is the first slot of every test here: two o'clock at night.
var start = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

const reader = "com.example.reader"

func production(app string) Budget { return Budget{app, iap.Production} }

// nights are n slots, a day apart, with a window.
func nights(n int, window time.Duration) []Slot {
	slots := make([]Slot, n)
	for i := range slots {
		at := start.Add(time.Duration(i) * day)
		slots[i] = Slot{at, at.Add(window)}
	}
	return slots
}

// policy plans as workers do.
func policy(_ string, c iap.Conclusion, now time.Time, id int64) iap.Check {
	return iap.DefaultPolicy().Plan(c, now, id)
}

// every plans each check a while after the last.
func every(d time.Duration) Plan {
	return func(_ string, _ iap.Conclusion, now time.Time, _ int64) iap.Check {
		return iap.Check{At: now.Add(d), Rule: "again"}
	}
}

// due are n receipts of a budget with a look at a time.
func due(b Budget, at time.Time, n int) []Receipt {
	receipts := make([]Receipt, n)
	for i := range receipts {
		receipts[i] = Receipt{ID: int64(i + 1), Budget: b, DueAt: at, Rule: "first", Weight: 1, Known: &iap.Conclusion{}}
	}
	return receipts
}

// night is a Run of one budget as a test writes it.
type night struct {
	New, Checks, Left float64
	Lasts             time.Duration
}

func nightsOf(runs []Run, b Budget) []night {
	found := make([]night, len(runs))
	for i, run := range runs {
		l := run.Loads[b]
		found[i] = night{New: l.New, Left: l.Left, Lasts: l.Lasts.Round(time.Second)}
		for _, n := range l.Checks {
			found[i].Checks += n
		}
	}
	return found
}

func TestProject(t *testing.T) {
	t.Parallel()
	never := func(string, iap.Conclusion, time.Time, int64) iap.Check { return iap.Check{Rule: iap.RuleSettled} }
	unknown := due(production(reader), start, 100)
	for i := range unknown {
		unknown[i].Known = nil
	}
	tests := []struct {
		name     string
		window   time.Duration
		plan     Plan
		receipts []Receipt
		want     []night
	}{
		{"overdue counts into the first", time.Hour, never, due(production(reader), start.Add(-30*day), 100),
			[]night{{100, 100, 0, 10 * time.Second}, {}, {}}},
		{"due at the start belongs to it", time.Hour, never, due(production(reader), start, 100),
			[]night{{100, 100, 0, 10 * time.Second}, {}, {}}},
		{"due a moment later waits a night", time.Hour, never, due(production(reader), start.Add(time.Second), 100),
			[]night{{}, {100, 100, 0, 10 * time.Second}, {}}},
		{"due after the last is not asked about", time.Hour, never, due(production(reader), start.Add(10*day), 100),
			[]night{{}, {}, {}}},
		{"looked at each night", time.Hour, every(12 * time.Hour), due(production(reader), start, 100),
			[]night{{100, 100, 0, 10 * time.Second}, {100, 100, 0, 10 * time.Second}, {100, 100, 0, 10 * time.Second}}},
		{"a day after the check is past the next start", time.Hour, every(day), due(production(reader), start, 100),
			[]night{{100, 100, 0, 10 * time.Second}, {}, {100, 100, 0, 10 * time.Second}}},
		{"nothing known is looked at once", time.Hour, every(12 * time.Hour), unknown,
			[]night{{100, 100, 0, 10 * time.Second}, {}, {}}},
		{"what is left comes first in the next", 6 * time.Second, never,
			append(due(production(reader), start, 100), due(production(reader), start.Add(time.Hour), 5)...),
			[]night{{100, 60, 40, 6 * time.Second}, {5, 45, 0, 4500 * time.Millisecond}, {}}},
		{"what is left falls due again later", 6 * time.Second, every(12 * time.Hour), due(production(reader), start, 100),
			[]night{{100, 60, 40, 6 * time.Second}, {60, 60, 40, 6 * time.Second}, {60, 60, 40, 6 * time.Second}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Slots: nights(3, test.window), Rates: map[string]float64{reader: 10}, Plan: test.plan}
			got := nightsOf(Project(cfg, test.receipts), production(reader))
			for i := range test.want {
				test.want[i].Lasts = test.want[i].Lasts.Round(time.Second)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreTypes(iap.Evidence{})); diff != "" {
				t.Errorf("nights (-want +got):\n%s", diff)
			}
		})
	}
}

// TestProjectSplitsWeights has receipts that stand for more than a night holds.
func TestProjectSplitsWeights(t *testing.T) {
	t.Parallel()
	receipts := due(production(reader), start, 1)
	receipts[0].Weight, receipts[0].Known = 100, nil
	cfg := Config{Slots: nights(4, 3*time.Second), Rates: map[string]float64{reader: 10}, Plan: policy}
	want := []night{
		{100, 30, 70, 3 * time.Second}, {0, 30, 40, 3 * time.Second}, {0, 30, 10, 3 * time.Second}, {0, 10, 0, time.Second},
	}
	if diff := cmp.Diff(want, nightsOf(Project(cfg, receipts), production(reader))); diff != "" {
		t.Errorf("nights (-want +got):\n%s", diff)
	}
}

// TestProjectOverlappingWindows has runs that begin while the one before goes on.
func TestProjectOverlappingWindows(t *testing.T) {
	t.Parallel()
	slots := []Slot{{start, start.Add(time.Hour)}, {start.Add(time.Minute), start.Add(time.Hour)}}
	receipts := append(due(production(reader), start, 900), due(production(reader), start.Add(time.Second), 100)...)
	cfg := Config{Slots: slots, Rates: map[string]float64{reader: 10}, Plan: every(365 * day)}
	want := []night{{900, 900, 0, 90 * time.Second}, {100, 100, 0, 40 * time.Second}}
	if diff := cmp.Diff(want, nightsOf(Project(cfg, receipts), production(reader))); diff != "" {
		t.Errorf("the second waits for the first (-want +got):\n%s", diff)
	}
}

// TestProjectBudgetsApart holds a slow app from taking the time of another.
func TestProjectBudgetsApart(t *testing.T) {
	t.Parallel()
	other := production("com.example.slow")
	cfg := Config{Slots: nights(1, time.Hour), Rates: map[string]float64{reader: 100, other.BundleID: 1}, Plan: every(day)}
	sandbox := Budget{reader, iap.Sandbox}
	receipts := slices.Concat(due(production(reader), start, 1000), due(other, start, 60), due(sandbox, start, 200))
	run := Project(cfg, receipts)[0]
	if diff := cmp.Diff([]Budget{production(reader), sandbox, other}, run.Budgets()); diff != "" {
		t.Errorf("budgets (-want +got):\n%s", diff)
	}
	for budget, want := range map[Budget]time.Duration{production(reader): 10 * time.Second, sandbox: 2 * time.Second, other: time.Minute} {
		if got := run.Loads[budget].Lasts.Round(time.Millisecond); got != want {
			t.Errorf("%v: lasts %s, want %s", budget, got, want)
		}
	}
}

// subscription is a monthly one that renews at a time.
func subscription(expires time.Time, change func(*iap.Subscription)) iap.Subscription {
	on := true
	s := iap.Subscription{
		SubscriptionKey: iap.SubscriptionKey{BundleID: reader, Environment: iap.Production, OriginalTransactionID: "1"},
		Status:          iap.StatusActive, PurchaseDate: expires.Add(-30 * day), ExpiresDate: expires, AutoRenewStatus: &on,
	}
	if change != nil {
		change(&s)
	}
	return s
}

func TestLater(t *testing.T) {
	t.Parallel()
	off := false
	tests := []struct {
		name string
		from iap.Subscription
		at   time.Time
		want iap.Subscription
	}{
		{"before its end", subscription(start, nil), start.Add(-renewalShows - time.Second), subscription(start, nil)},
		{"renews before its end", subscription(start, nil), start.Add(-renewalShows), subscription(start.Add(30*day), nil)},
		{"renews the next time before its end", subscription(start, nil), start.Add(30*day - renewalShows), subscription(start.Add(60*day), nil)},
		{"does not lapse before its end", subscription(start, func(s *iap.Subscription) { s.AutoRenewStatus = &off }), start.Add(-time.Second),
			subscription(start, func(s *iap.Subscription) { s.AutoRenewStatus = &off })},
		{"renews", subscription(start, nil), start, subscription(start.Add(30*day), nil)},
		{"renews twice", subscription(start, nil), start.Add(45 * day), subscription(start.Add(60*day), nil)},
		{"renews where the source does not say", subscription(start, func(s *iap.Subscription) { s.AutoRenewStatus = nil }), start,
			subscription(start.Add(30*day), func(s *iap.Subscription) { s.AutoRenewStatus = nil })},
		{"unknown period", subscription(start, func(s *iap.Subscription) { s.PurchaseDate = time.Time{} }), start, subscription(start.Add(30*day), nil)},
		{"after a trial", subscription(start, func(s *iap.Subscription) {
			s.PurchaseDate, s.IsTrialPeriod, s.OfferType = start.Add(-7*day), true, iap.OfferIntroductory
		}), start, subscription(start.Add(30*day), nil)},
		{"lapses", subscription(start, func(s *iap.Subscription) { s.AutoRenewStatus = &off }), start,
			subscription(start, func(s *iap.Subscription) {
				s.AutoRenewStatus, s.Status, s.ExpirationIntent = &off, iap.StatusExpired, iap.IntentCustomerCancelled
			})},
		{"sandbox lapses", subscription(start, func(s *iap.Subscription) { s.Environment = iap.Sandbox }), start,
			subscription(start, func(s *iap.Subscription) {
				s.Environment, s.Status, s.ExpirationIntent = iap.Sandbox, iap.StatusExpired, iap.IntentCustomerCancelled
			})},
		{"grace period ends", subscription(start, func(s *iap.Subscription) {
			s.Status, s.GracePeriodExpiresDate = iap.StatusGracePeriod, start.Add(16*day)
		}), start.Add(16 * day), subscription(start, func(s *iap.Subscription) {
			s.Status, s.GracePeriodExpiresDate = iap.StatusBillingRetry, start.Add(16*day)
		})},
		{"in grace", subscription(start, func(s *iap.Subscription) {
			s.Status, s.GracePeriodExpiresDate = iap.StatusGracePeriod, start.Add(16*day)
		}), start.Add(15 * day), subscription(start, func(s *iap.Subscription) {
			s.Status, s.GracePeriodExpiresDate = iap.StatusGracePeriod, start.Add(16*day)
		})},
		{"Apple gives up", subscription(start, func(s *iap.Subscription) {
			s.Status, s.IsInBillingRetryPeriod = iap.StatusBillingRetry, true
		}), start.Add(60 * day), subscription(start, func(s *iap.Subscription) {
			s.Status, s.ExpirationIntent = iap.StatusExpired, iap.IntentBillingError
		})},
		{"expired stays", subscription(start, func(s *iap.Subscription) { s.Status = iap.StatusExpired }), start.Add(400 * day),
			subscription(start, func(s *iap.Subscription) { s.Status = iap.StatusExpired })},
		{"revoked stays", subscription(start, func(s *iap.Subscription) { s.Status = iap.StatusRevoked }), start.Add(400 * day),
			subscription(start, func(s *iap.Subscription) { s.Status = iap.StatusRevoked })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := iap.Conclusion{Subscriptions: []iap.Subscription{subscription(start.Add(999*day), nil), test.from}}
			given := slices.Clone(before.Subscriptions)
			got := later(before, test.at).Subscriptions
			if diff := cmp.Diff(test.want, got[1], cmpopts.IgnoreTypes(iap.Evidence{})); diff != "" {
				t.Errorf("subscription (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(given, before.Subscriptions, cmpopts.IgnoreTypes(iap.Evidence{})); diff != "" {
				t.Errorf("what was given has changed (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRepeatedChecks plays the shipped policy through, so that a forecast does
// not shrink to nothing after the first nights.
func TestRepeatedChecks(t *testing.T) {
	t.Parallel()
	receipt := func(s iap.Subscription, at time.Time) Receipt {
		return Receipt{ID: 7, Budget: production(reader), DueAt: at, Rule: "first", Weight: 1, Known: &iap.Conclusion{Subscriptions: []iap.Subscription{s}}}
	}
	checks := func(r Receipt, slots int) map[iap.Rule]float64 {
		sums := make(map[iap.Rule]float64)
		cfg := Config{Slots: nights(slots, 8*time.Hour), Rates: map[string]float64{reader: 10}, Plan: policy}
		for _, run := range Project(cfg, []Receipt{r}) {
			for rule, n := range run.Loads[production(reader)].Checks {
				sums[rule] += n
			}
		}
		return sums
	}
	retry := subscription(start.Add(-time.Hour), func(s *iap.Subscription) { s.Status = iap.StatusBillingRetry })
	week := subscription(start.Add(-time.Hour), func(s *iap.Subscription) { s.PurchaseDate = s.ExpiresDate.Add(-7 * day) })
	if got := checks(receipt(retry, start), 7); sum(got) != 7 {
		t.Errorf("a failed payment in its first week: %v, want a check each night", got)
	}
	if got := checks(receipt(week, start), 29); sum(got) != 5 {
		t.Errorf("a weekly subscription in 29 nights: %v, want 5 checks", got)
	}
	if got := checks(receipt(subscription(start.Add(-time.Hour), nil), start), 65); sum(got) < 3 {
		t.Errorf("a monthly subscription in 65 nights: %v, want 3 checks at least", got)
	}
}

func sum(checks map[iap.Rule]float64) (n float64) {
	for v := range maps.Values(checks) {
		n += v
	}
	return n
}

func TestOneIn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		counts map[string]int64
		most   int64
		want   map[string]int64
	}{
		{"nothing", nil, 100, map[string]int64{}},
		{"all fit", map[string]int64{"a": 60, "b": 40}, 100, map[string]int64{"a": 1, "b": 1}},
		{"one app", map[string]int64{"a": 1000}, 100, map[string]int64{"a": 10}},
		{"a little too many", map[string]int64{"a": 101}, 100, map[string]int64{"a": 2}},
		{"small apps whole", map[string]int64{"a": 10, "b": 20, "c": 1400}, 100, map[string]int64{"a": 1, "b": 1, "c": 20}},
		{"two large", map[string]int64{"a": 1000, "b": 500}, 100, map[string]int64{"a": 20, "b": 10}},
		{"more apps than places", map[string]int64{"a": 5, "b": 5, "c": 5}, 2, map[string]int64{"a": 5, "b": 5, "c": 5}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var groups []Group
			for app, n := range test.counts {
				groups = append(groups, Group{Budget: production(app), Rule: "x", Receipts: n - 1}, Group{Budget: production(app), Rule: "y", Receipts: 1})
			}
			if diff := cmp.Diff(test.want, OneIn(groups, test.most)); diff != "" {
				t.Errorf("one in (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWeigh(t *testing.T) {
	t.Parallel()
	slots := nights(3, time.Hour)
	groups := []Group{
		{production(reader), "first", 0, 300},
		{production(reader), "first", 1, 50},
		{production("com.example.other"), "first", 0, 7},
	}
	sample := slices.Concat(due(production(reader), start.Add(-time.Hour), 2), due(production(reader), start, 1),
		due(production(reader), start.Add(3*day), 1)) // the last came after the count
	weights := make(map[string]float64)
	for _, r := range Weigh(groups, sample, slots) {
		weights[r.Budget.BundleID] += r.Weight
		if r.Weight != 100 && r.Weight != 50 && r.Weight != 7 && r.Weight != 1 {
			t.Errorf("weight %v", r.Weight)
		}
		if whole := r.Weight == 50 || r.Weight == 7; whole != (r.Known == nil) {
			t.Errorf("a receipt of weight %v: known is %v", r.Weight, r.Known)
		}
	}
	if diff := cmp.Diff(map[string]float64{reader: 351, "com.example.other": 7}, weights); diff != "" {
		t.Errorf("weights by app (-want +got):\n%s", diff)
	}
}

func TestShortages(t *testing.T) {
	t.Parallel()
	slow, fine := production("com.example.slow"), production(reader)
	cfg := Config{Slots: nights(5, time.Hour), Rates: map[string]float64{slow.BundleID: 1, reader: 10}, Plan: every(365 * day)}
	receipts := slices.Concat(due(fine, start, 100), due(slow, start, 100),
		due(slow, start.Add(day), 7300), due(slow, start.Add(2*day), 10))
	got := Shortages(cfg, receipts, Project(cfg, receipts))
	if len(got) != 1 {
		t.Fatalf("got %d shortages, want 1: %+v", len(got), got)
	}
	s := got[0]
	type summary struct {
		Budget       Budget
		Runs         int
		First, Worst time.Time
		Left         float64
		CaughtUp     time.Time
		Rate, Needed float64
		WindowNeeded time.Duration
	}
	want := summary{slow, 2, start.Add(day), start.Add(day), 3700, start.Add(3 * day), 1, 2.1, 3 * time.Hour}
	if diff := cmp.Diff(want, summary{s.Budget, s.Runs, s.First.Start, s.Worst.Start, math.Round(s.Left), s.CaughtUp, s.Rate, s.RateNeeded, s.WindowNeeded}); diff != "" {
		t.Errorf("shortage (-want +got):\n%s", diff)
	}
	cfg.Rates[slow.BundleID] = s.RateNeeded
	if left := Shortages(cfg, receipts, Project(cfg, receipts)); len(left) > 0 {
		t.Errorf("at the rate that is said to be enough: %+v", left)
	}
}

// TestShortageForGood is a budget that falls behind more each night.
func TestShortageForGood(t *testing.T) {
	t.Parallel()
	cfg := Config{Slots: nights(5, 24*time.Hour), Rates: map[string]float64{reader: 0.001}, Plan: every(12 * time.Hour)}
	receipts := due(production(reader), start, 200)
	got := Shortages(cfg, receipts, Project(cfg, receipts))
	if len(got) != 1 || got[0].Runs != 5 || !got[0].CaughtUp.IsZero() || got[0].WindowNeeded != 0 {
		t.Fatalf("got %+v, want 5 runs, never caught up, and no window that would do", got)
	}
	cfg.Rates[reader] = got[0].RateNeeded
	if left := Shortages(cfg, receipts, Project(cfg, receipts)); len(left) > 0 {
		t.Errorf("at the rate that is said to be enough: %+v", left)
	}
}

func TestRoundUp(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]float64{0: 0, 0.0123: 0.013, 1: 1, 2.01: 2.1, 10: 10, 14.01: 15, 99.1: 100, 1234: 1300} {
		if got := roundUp(rate); got != want {
			t.Errorf("%v: got %v, want %v", rate, got, want)
		}
	}
}
