package e2e

import (
	"slices"
	"testing"
	"time"

	"revalidator/internal/applesim"
	"revalidator/internal/judge"
	"revalidator/worker"
)

// TestClocksAnHourApart has one worker half an hour ahead of the scheduler and
// one half an hour behind, for two nights with a month in between.
func TestClocksAnHourApart(t *testing.T) {
	t.Parallel()
	const (
		customers = 800
		rate      = 400.0
		burst     = 20
		month     = 30 * 24 * time.Hour
	)
	n := newNight(t, applesim.Config{Seed: 14, Customers: customers}, rate, burst)
	must(t, n.judge().Watch(t.Context()))
	apart := func(d time.Duration) func(*worker.Config) {
		return func(c *worker.Config) { c.Now = func() time.Time { return n.now().Add(d) } }
	}
	stop := n.beside(n.workerWith(apart(30*time.Minute)).Run, n.workerWith(apart(-30*time.Minute)).Run)
	defer stop()
	for night := range 2 {
		since := n.lastRequest()
		n.exec(`UPDATE receipts SET next_check_at = $1`, n.now())
		run := n.run("a night")
		v, err := n.judge().Judge(t.Context(), judge.Case{
			RunID: run.ID, Since: since, Started: n.now().Add(-time.Hour),
			Rate: rate, Burst: burst, RateSlack: 750 * time.Millisecond,
		})
		must(t, err)
		for _, complaint := range v.Complaints {
			t.Errorf("night %d: %s", night+1, complaint)
		}
		n.past.Add(int64(month))
		n.sim.Clock().Advance(month)
	}
}

// lastRequest is the number of the last request in the App Store's log.
func (n *night) lastRequest() int64 {
	entries := slices.Collect(n.sim.Log(0))
	if len(entries) == 0 {
		return 0
	}
	return entries[len(entries)-1].Seq
}
