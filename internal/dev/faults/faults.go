// Package faults attacks whole installations: the built program as processes, a
// Postgres and a Redis of their own, the simulated App Store, and a proxy on
// each way between them. Each scenario is one night in which something goes
// wrong, and afterwards internal/dev/judge says the result of the promises. It is
// for cmd/faults and is never linked into the production binary.
package faults

import (
	"context"
	"fmt"
	"time"

	"revalidator/internal/clock"
	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/judge"
)

// Scenario is one night and what goes wrong in it.
type Scenario struct {
	// Name is one or two words for each of subject and fault: "worker killed".
	Name string
	// Faults says what is done, in the words of the table.
	Faults string
	// Lasts is for how long the harm is done where that may be chosen, see For;
	// it is told after Faults. 0 is where it may not.
	Lasts time.Duration
	// HeldBack is whether no call is answered well meanwhile, so that but for a
	// first moment and a few probes none may be made.
	HeldBack bool
	// Alone is whether it harms the server of the whole suite.
	Alone bool
	// Short is whether the scenario is part of the short suite.
	Short bool
	// Length is how long the run would take without a fault, which sets the
	// rate of the apps. 0 is 10 s.
	Length time.Duration
	// Settings are those that differ from the suite's, as NAME=value.
	Settings []string
	// Workers and Schedulers are how many there are at the start: 2 and 1
	// where they are 0.
	Workers, Schedulers int
	// Store changes the App Store. What the first night saw of it must stay.
	Store func(*applesim.Config)
	// Prepare changes the world before the programs start.
	Prepare func(ctx context.Context, w *World) error
	// Start starts the programs. Nil is Workers and Schedulers.
	Start func(w *World) error
	// Attack does the harm once a part of the run is done, and returns when the
	// last of it is over.
	Attack func(ctx context.Context, w *World) error
	// Recovered is when the harm is overcome. Nil is as soon as one more result
	// is stored.
	Recovered func(ctx context.Context, w *World) (bool, error)
	// RateSlack is by how much calls may come early after they were held up on
	// their way: at least as long as the way was held up.
	RateSlack time.Duration
	// AsksAgain accepts good answers that did not come through: what was on its
	// way when it was cut is asked again.
	AsksAgain bool
	// Again has one more run after all is over, in which everything is due once
	// more, and judges that one. The first one may leave receipts for another
	// day.
	Again bool
	// Late accepts states that are not the truth of now, where they follow from
	// what the replies told.
	Late bool
	// Patience is what each wait may take beyond that of the suite.
	Patience time.Duration
}

// Result is a scenario with its verdict.
type Result struct {
	Name   string `json:"name"`
	Faults string `json:"faults"`
	// Skipped says why there is no verdict, where there is none.
	Skipped string `json:"skipped,omitempty"`
	judge.Verdict
	// InFlight is how many good answers were on their way to Postgres when
	// processes were killed or ways were cut, which may all be asked for again.
	InFlight int `json:"in_flight"`
	// Calls is how many calls reached the App Store while it was failing for
	// Scenario.Lasts, and Probes those of them after the first moment.
	Calls  int `json:"calls"`
	Probes int `json:"probes"`
	// Recovery is the time from the end of the harm until Scenario.Recovered.
	Recovery time.Duration `json:"recovery_ns"`
	// Took is the whole scenario.
	Took time.Duration `json:"took_ns"`
}

// OK is whether every promise was kept.
func (r Result) OK() bool { return len(r.Complaints) == 0 }

// SkipError is why a scenario cannot take place on this machine.
type SkipError struct{ Reason string }

func (e *SkipError) Error() string { return e.Reason }

// Scenarios is the whole suite, in the order of the table.
func Scenarios() []Scenario {
	var all []Scenario
	for _, subject := range [][]Scenario{
		workerScenarios(), schedulerScenarios(), ownerScenarios(), redisScenarios(), postgresScenarios(), networkScenarios(), appleScenarios(), oddScenarios(), memoryScenarios(),
	} {
		all = append(all, subject...)
	}
	return all
}

// hold is how a fault lasts: it returns after d or with the error of ctx.
func hold(ctx context.Context, d time.Duration) error {
	if clock.Sleep(ctx, d) != nil {
		return context.Cause(ctx)
	}
	return nil
}

const pollEvery = 20 * time.Millisecond

// await polls until a condition holds, for as long as within.
func await(ctx context.Context, what string, within time.Duration, holds func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("waited %s in vain until %s", within, what))
	defer cancel()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var last error
	for {
		ok, err := holds(ctx)
		if ok && err == nil {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("%w (last: %v)", context.Cause(ctx), last)
			}
			return context.Cause(ctx)
		}
	}
}
