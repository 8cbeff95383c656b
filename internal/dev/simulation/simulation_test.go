package simulation

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/iap"
)

func config(population int) Config {
	return Config{Population: Populations()[population], Subscriptions: 1500, Days: 120, Seed: 7, Leads: LeadsMixed}
}

// eachLife runs a test on lives of both populations.
func eachLife(t *testing.T, test func(t *testing.T, id int64, h *history)) {
	t.Helper()
	for i := range Populations() {
		for id := range int64(1500) {
			test(t, id, config(i).life(id, 120*day+aftermath))
		}
	}
}

// TestAnswersMeanWhatHappened has Derive conclude from each answer what the
// life was meant to be.
func TestAnswersMeanWhatHappened(t *testing.T) {
	t.Parallel()
	eachLife(t, func(t *testing.T, id int64, h *history) {
		for i, ph := range h.phases {
			end := ph.from + 30*day
			if ph.status == iap.StatusActive {
				end = h.periods[ph.period].expires
			}
			if i+1 < len(h.phases) {
				end = h.phases[i+1].from
			}
			if end <= ph.from {
				t.Fatalf("life %d: phase %d ends before it begins", id, i)
			}
			// Apple tells times in milliseconds.
			for _, at := range []moment{ph.from, (ph.from + end) / 2, end - time.Millisecond} {
				s := h.conclusion(i, at).Subscriptions[0]
				if s.Status != ph.status {
					t.Fatalf("life %d, phase %d, at %s: Derive says %s, want %s", id, i, at, s.Status, ph.status)
				}
			}
		}
	})
}

// TestChangesCanBeSeen holds every change to a stretch of time in which a look
// shows it, and each kind to happening at all.
func TestChangesCanBeSeen(t *testing.T) {
	t.Parallel()
	var seen [kinds]int
	eachLife(t, func(t *testing.T, id int64, h *history) {
		for i, c := range h.changes {
			if c.until <= c.visible {
				t.Fatalf("life %d: %s is hidden at %s before it shows at %s", id, c.kind, c.until, c.visible)
			}
			if i > 0 && c.visible < h.changes[i-1].visible {
				t.Fatalf("life %d: changes out of order", id)
			}
			seen[c.kind]++
		}
	})
	for k, n := range seen {
		if n == 0 {
			t.Errorf("no life has a %s", Kind(k))
		}
	}
}

// TestSameSeedSameFigures runs twice.
func TestSameSeedSameFigures(t *testing.T) {
	t.Parallel()
	c := config(0)
	c.Subscriptions = 200
	figures := func() (all []Figures) {
		for _, r := range Compare(c).Results {
			all = append(all, r.Kinds[:]...)
		}
		return all
	}
	if diff := cmp.Diff(figures(), figures(), cmp.AllowUnexported(Figures{})); diff != "" {
		t.Errorf("(-first +second)\n%s", diff)
	}
	first := figures()
	c.Seed++
	if cmp.Equal(first, figures(), cmp.AllowUnexported(Figures{})) {
		t.Error("another seed gives the same figures")
	}
}

// TestWhoLooksEachNightMissesNothing is by definition, and the staleness is
// less than a night and the length of a run, and the delay of a late renewal.
func TestWhoLooksEachNightMissesNothing(t *testing.T) {
	t.Parallel()
	everything := Compare(config(0)).Everything
	for k := range everything.Kinds {
		f := &everything.Kinds[k]
		if f.Missed != 0 || f.Max() > 31*time.Hour {
			t.Errorf("%s: %d missed, at most %s late", Kind(k), f.Missed, f.Max())
		}
	}
}

// TestTargets holds the policy that is shipped to those targets that a few lives
// more or less do not decide; make simulate CHECK=1 has them all.
func TestTargets(t *testing.T) {
	t.Parallel()
	c := config(0)
	c.Subscriptions = 5000
	for _, target := range Compare(c).Targets(false) {
		robust := strings.Contains(target.Text, "seen within") || strings.Contains(target.Text, "calls than (a)")
		if robust && !target.Met {
			t.Errorf("%s, got %s", target.Text, target.Got)
		}
	}
}

// TestTargetsCanBeMissed breaks the policy, and has targets tell.
func TestTargetsCanBeMissed(t *testing.T) {
	t.Parallel()
	c := config(0)
	worse := iap.DefaultPolicy()
	worse.RunEvery, worse.Jitter = time.Minute, 0.1 // due a day later and not half a night early
	late := Planned("c", "", worse)
	late.Every = day
	c.Policies = []*Policy{EveryNight(), AutoRenewing(), late, late}
	c.Against = 1
	o := Run(c)
	missed := map[string]bool{}
	for _, target := range (Comparison{o, o.Results[0], o.Results[1], o.Results[2], o.Results[3]}).Targets(false) {
		missed[target.Text] = !target.Met
	}
	for _, want := range []string{"(c): 95% of recovery seen within 30.0 h", "(d): 95% of renewal seen within 2.0 h"} {
		if !missed[want] {
			t.Errorf("not missed: %s", want)
		}
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	nightly, hourly := EveryNight(), Planned("d", "", iap.Policy{RunEvery: time.Hour})
	tests := []struct {
		name      string
		p         *Policy
		due, want moment
	}{
		{"before the night", nightly, time.Hour, 2 * time.Hour},
		{"at the cut-off: belongs to it", nightly, 2 * time.Hour, 2 * time.Hour},
		{"just after it", nightly, 2*time.Hour + 1, 26 * time.Hour},
		{"before the start", nightly, -23 * time.Hour, -22 * time.Hour},
		{"hourly", hourly, 90 * time.Minute, 2 * time.Hour},
		{"hourly, before the start", hourly, -90 * time.Minute, -time.Hour},
	}
	for _, test := range tests {
		if got := test.p.slot(test.due); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var f Figures
	if f.Quantile(0.5) != 0 {
		t.Error("of nothing: want 0")
	}
	for i := range 100 {
		f.found(time.Duration(i) * time.Hour)
	}
	for q, want := range map[float64]time.Duration{0.5: 49 * time.Hour, 0.95: 94 * time.Hour, 1: 99 * time.Hour} {
		if got := f.Quantile(q); got < want || got > want+bin {
			t.Errorf("%v: got %s, want %s", q, got, want)
		}
	}
}
