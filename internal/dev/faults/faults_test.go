package faults

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"revalidator/internal/dev/judge"
)

func TestScenariosAreComplete(t *testing.T) {
	t.Parallel()
	names, databases, short := map[string]bool{}, map[string]bool{}, 0
	for _, s := range Scenarios() {
		database := notInNames.ReplaceAllString(strings.ToLower(s.Name), "_")
		if s.Name == "" || s.Faults == "" || s.Attack == nil || names[s.Name] || databases[database] {
			t.Errorf("scenario %q: name, faults or attack is missing, or the name is given twice", s.Name)
		}
		if strings.Contains(s.Name+s.Faults, "|") {
			t.Errorf("scenario %q would break the table", s.Name)
		}
		names[s.Name], databases[database] = true, true
		if s.Short {
			short++
		}
	}
	if short < 4 || short > 9 {
		t.Errorf("%d scenarios in the short suite", short)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	if err := WriteTable(&got, []Result{
		{Name: "worker killed", Faults: "kill -9", Verdict: judge.Verdict{Receipts: 7, Asked: 6, Duplicates: 2, Lost: 1}, InFlight: 5, Recovery: 3210 * time.Millisecond},
		{Name: "disk full", Faults: "no space", Skipped: "needs root"},
	}); err != nil {
		t.Fatal(err)
	}
	want := `| scenario | faults injected | receipts | asked | duplicates | lost | wrong | events off | recovery |
|---|---|--:|--:|--:|--:|--:|--:|--:|
| worker killed | kill -9 | 7 | 6 | 2 of 5 | 1 | 0 | 0 | 3.2 s |
| disk full | no space | skipped: needs root | | | | | | |
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("table (-want +got)\n%s", diff)
	}
}

func TestFor(t *testing.T) {
	t.Parallel()
	s := Scenario{Faults: "21002 for everybody", Lasts: outage, Settings: []string{"A=1"}}
	if got, want := s.Injects(), "21002 for everybody, for 8 s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if short := s.For(time.Minute); len(short.Settings) != 1 || short.bound() != scenarioTime+time.Minute {
		t.Errorf("a minute: settings %q and a bound of %s, want those of the suite and %s", short.Settings, short.bound(), scenarioTime+time.Minute)
	}
	hour := s.For(time.Hour)
	if got, want := hour.Injects(), "21002 for everybody, for 1 h"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !slices.Contains(hour.Settings, "REVALIDATOR_CLAIM_LEASE=") || hour.patience() <= 2*time.Hour || hour.bound() < 5*time.Hour {
		t.Errorf("an hour: settings %q, patience %s, bound %s; want the leases of production, and time for them", hour.Settings, hour.patience(), hour.bound())
	}
}

// TestHeldBack has the breaker let too much through.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	// Pauses of 30 s, 1, 2, 4, 8, and five of 10 min.
	if got, want := mostProbes(time.Hour), 10*3*2*2; got != want {
		t.Errorf("probes in an hour: got %d, want %d", got, want)
	}
	w := &World{scenario: Scenario{HeldBack: true, Lasts: time.Hour}, calls: 5000, probes: 120}
	if got := w.heldBack(); got != nil {
		t.Errorf("probes and no more: got %q", got)
	}
	w.probes++
	if got := w.heldBack(); len(got) != 1 {
		t.Errorf("one more: got %q, want a complaint", got)
	}
}

// TestPoisonHasItsPlace is what fails first when the worker's source moves on.
func TestPoisonHasItsPlace(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../../worker/" + poisonedFile)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := withPoison(string(source)); err != nil || !strings.Contains(got, poison) {
		t.Errorf("got %v, want the source with the poison", err)
	}
	if _, err := withPoison("package worker\n"); err == nil {
		t.Error("no place for the poison is no error")
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	first := Use{Heap: 20 << 20, Resident: 60 << 20, Goroutines: 300, Files: 40, Postgres: 30, Redis: 60, Receipts: 10 << 20, Subscriptions: 9 << 20}
	if got := growth(first, first); got != nil {
		t.Errorf("nothing grew: got %q", got)
	}
	last := first
	last.Goroutines, last.Receipts = 1000, 100<<20
	want := []string{"goroutines grew from 300 to 1000", "bytes of receipts grew from 10485760 to 104857600"}
	if diff := cmp.Diff(want, growth(first, last)); diff != "" {
		t.Errorf("complaints (-want +got)\n%s", diff)
	}
}
