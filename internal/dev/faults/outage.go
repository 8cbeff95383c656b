package faults

import (
	"fmt"
	"time"

	"revalidator/internal/dev/applesim"
)

const (
	// outage is for how long Apple is failing unless For says otherwise. With
	// the settings of the suite it is to back-offs and leases what an hour is to
	// the usual ones.
	outage = 8 * time.Second
	// longOutage is from when on the usual ones show what they do.
	longOutage = 10 * time.Minute
	// usualLease is the default of REVALIDATOR_CLAIM_LEASE, and longer than the
	// longest pause of the breaker with its jitter, 12 min 30 s.
	usualLease = 15 * time.Minute
)

// standsStill is for nights so long that the clock of the App Store, which stands
// still, is far behind in the end.
const standsStill = "REVALIDATOR_CLOCK_TOLERANCE=24h"

// For is the scenario with a harm that lasts so long. One that lasts for long is
// met with the leases, back-offs and timeouts of production, but not with its
// limit of failures: no receipt leaves the run.
func (s Scenario) For(d time.Duration) Scenario {
	s.Lasts = d
	if d >= longOutage {
		// What is set to nothing has its default.
		s.Settings = []string{
			"REVALIDATOR_APPLE_TIMEOUT=", "REVALIDATOR_QUEUE_AHEAD=", "REVALIDATOR_LIMITER_WAIT=",
			"REVALIDATOR_CLAIM_LEASE=", "REVALIDATOR_OWNER_LEASE=", "REVALIDATOR_RETRY_BASE=", "REVALIDATOR_RETRY_MAX=",
			"REVALIDATOR_SHUTDOWN_TIMEOUT=",
			standsStill,
		}
	}
	return s
}

// Injects says what is done, and for how long.
func (s Scenario) Injects() string {
	if s.Lasts == 0 {
		return s.Faults
	}
	return s.Faults + ", for " + words(s.Lasts)
}

func words(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%g s", d.Seconds())
}

// patience bounds each wait after the harm. What waits by the settings of
// production waits for no longer than a lease, or than a back-off that doubled as
// long as the harm lasted, which is that of a receipt in an environment with too
// few calls for the breaker to open.
func (s Scenario) patience() time.Duration {
	if s.Lasts >= longOutage {
		return patience + max(usualLease, 2*s.Lasts)
	}
	return patience + s.Patience
}

// bound is that of the scenario as a whole.
func (s Scenario) bound() time.Duration {
	return scenarioTime + s.Lasts + 2*(s.patience()-patience)
}

// firstMoment is what the breaker may take to open: calls that nobody answers
// end after a minute in production.
const firstMoment = 90 * time.Second

// countCalls counts those of the trouble that is over now.
func (w *World) countCalls(until time.Time) {
	for e := range w.Sim.Log(0) {
		if e.RealTime.Before(w.trouble) || e.RealTime.After(until) {
			continue
		}
		w.calls++
		if e.RealTime.Sub(w.trouble) > firstMoment {
			w.probes++
		}
	}
}

// heldBack complains of calls of the trouble that were none of the few probes.
func (w *World) heldBack() []string {
	if most := mostProbes(w.scenario.Lasts); w.scenario.HeldBack && w.probes > most {
		return []string{fmt.Sprintf("held back: %d calls after the first moment of the trouble, want %d at most", w.probes, most)}
	}
	return nil
}

// mostProbes is how many calls may be made in a time of trouble: three at the end
// of each pause, for each app in both environments. Pauses of half a minute
// double up to ten minutes.
func mostProbes(d time.Duration) int {
	rounds := 0
	for pause := 30 * time.Second; d > 0; pause = min(2*pause, 10*time.Minute) {
		d -= pause
		rounds++
	}
	return rounds * 3 * 2 * len(applesim.DefaultApps(simSeed))
}
