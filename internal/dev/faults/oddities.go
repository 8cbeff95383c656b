package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"time"

	"revalidator/internal/dev/applesim"
)

// oddScenarios have replies that are well-formed and do not tell the whole truth,
// night after night as time passes in the App Store. The judge knows what each of
// them told; the last night, which is like any other, ends in the truth.
func oddScenarios() []Scenario {
	return []Scenario{
		nights("replies without renewal", "no renewal information for half of the replies of 3 nights, 2 days apart", false,
			times(3, 2*oneDay, share(fault(applesim.FaultNoRenewal), 2))...),
		nights("replies of older periods", "a third of the replies of 3 nights show old periods only", false,
			times(3, oneDay, share(fault(applesim.FaultOlder), 3))...),
		customersGone(),
		nights("replicas that lag", "a third of the replies of 3 nights tell what was true hours or days ago, as of now", false,
			times(3, oneDay, share(lag(time.Hour, 4*oneDay), 3))...),
		nights("clocks off here and there", "replies dated days ahead or behind for some customers, in 2090 for one", false,
			times(1, oneDay, someClocks()...)...),
		wrongClock(),
		nights("records without dates", "expiries empty, null, missing, impossible or far, of half of the records of a third of the replies of 2 nights", false,
			times(2, oneDay, share(undated(), 3))...),
		nights("first dates that differ", "each period with an original purchase of its own for half of the replies of 2 nights", false,
			times(2, oneDay, share(fault(applesim.FaultFirstDates), 2))...),
		distress("replies out of bounds", "ids of 3,000 bytes, statuses beyond 31 bits alone and with facts, 21006 with any facts, a fifth each", false,
			share(fault(applesim.FaultLongIDs), 5), share(code(1<<31), 4), share(status(1<<31), 3), share(status(21006), 2)),
		distress("a proxy in front", "HTTP 413 for every request above 8 KB", false, proxied()),
		everybodyAccused(),
		nights("odd replies", "a tenth of the replies of 2 nights odd in each way", true,
			times(2, oneDay, share(fault(applesim.FaultNoRenewal), 10), share(fault(applesim.FaultOlder), 10), share(fault(applesim.FaultBare), 10),
				share(lag(time.Hour, oneDay), 10), share(undated(), 10), share(fault(applesim.FaultFirstDates), 10))...),
	}
}

const oneDay = 25 * time.Hour // and an hour, so that a day has passed for sure

func lag(least, more time.Duration) applesim.Rule {
	return applesim.Rule{Fault: applesim.FaultLag, Age: applesim.Duration(least), Jitter: applesim.Duration(more), Rate: 1}
}

func undated() applesim.Rule {
	return applesim.Rule{Fault: applesim.FaultUndated, Records: 0.5, Rate: 1}
}

func status(code int) applesim.Rule {
	return applesim.Rule{Fault: applesim.FaultStatus, Status: code, Rate: 1}
}

// proxied is a limit that many a proxy has.
func proxied() applesim.Rule {
	r := httpStatus(http.StatusRequestEntityTooLarge, 0)
	r.LargerThan = 8 << 10
	return r
}

// someClocks are off for a few customers, by a time that no two replies agree on.
func someClocks() []applesim.Rule {
	ahead := applesim.Rule{Fault: applesim.FaultClock, Skew: applesim.Duration(time.Hour), Jitter: applesim.Duration(100 * oneDay), Rate: 0.5, Customers: 0.01}
	behind := ahead
	behind.Skew, behind.Customers = applesim.Duration(-101*oneDay), 0.005
	century := ahead
	century.Skew, century.CustomerRef, century.Customers = applesim.Duration(64*365*oneDay), "customer-0000012", 0
	return []applesim.Rule{ahead, behind, century}
}

// anOddNight is a run by some rules, after a time.
type anOddNight struct {
	after time.Duration
	rules []applesim.Rule
}

func times(n int, after time.Duration, rules ...applesim.Rule) []anOddNight {
	var all []anOddNight
	for range n {
		all = append(all, anOddNight{after, rules})
	}
	return all
}

// nights has some nights go by, and judges another one.
func nights(name, faults string, short bool, all ...anOddNight) Scenario {
	return Scenario{
		Name: name, Faults: faults + "; then another night", Short: short, Again: true, Length: 3 * time.Second,
		Attack: func(ctx context.Context, w *World) error { return w.live(ctx, all) }, Recovered: atOnce,
	}
}

// atOnce is for harm that is over when the attack is.
func atOnce(context.Context, *World) (bool, error) { return true, nil }

// live does nights in a row, and has a day pass.
func (w *World) live(ctx context.Context, nights []anOddNight) error {
	if err := await(ctx, "the run is finished", w.scenario.patience(), w.Finished); err != nil {
		return err
	}
	for _, n := range nights {
		w.Sim.Clock().Advance(n.after)
		if err := w.Sim.SetFaults(n.rules); err != nil {
			return err
		}
		if err := w.makeAllDue(ctx); err != nil {
			return err
		}
		w.runs++
		if err := w.suite.command(ctx, w.feederEnv, "run", "--quiet"); err != nil && !someFailed(err) {
			return err
		}
	}
	w.Sim.Clock().Advance(oneDay)
	return w.Sim.SetFaults(nil)
}

// someFailed reports whether a run ended well, but for some receipts.
func someFailed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 3
}

// customersGone has some customers be shown no more, and then again. Those of them
// whose subscription has ended by then are taken for expired meanwhile.
func customersGone() Scenario {
	gone, nothing := fault(applesim.FaultBare), share(fault(applesim.FaultBare), 5)
	gone.Customers = 0.2
	s := nights("customers not shown", "nothing for a fifth of the customers on 4 days, and for a fifth of the other replies", false,
		append(times(1, 20*oneDay, nothing), times(4, oneDay, gone, nothing)...)...)
	live := s.Attack
	s.Attack = func(ctx context.Context, w *World) error {
		if err := live(ctx, w); err != nil {
			return err
		}
		n, err := w.number(ctx, `SELECT count(*) FROM subscription_events WHERE type = 'expired' AND evidence = 'no_longer_shown'`)
		if err == nil && n == 0 {
			return &brokenPromise{"nobody is expired who was not shown for days"}
		}
		return err
	}
	return s
}

// everybodyAccused has Apple know no account for four days: three are enough for a
// receipt that is accused alone.
func everybodyAccused() Scenario {
	s := nights("everybody accused", "21010 for everybody, in 4 nights a day apart", false, times(4, oneDay, code(21010))...)
	s.Settings = []string{"REVALIDATOR_RETRY_LIMIT=2"} // they leave the runs
	live := s.Attack
	s.Attack = func(ctx context.Context, w *World) error {
		if err := live(ctx, w); err != nil {
			return err
		}
		n, err := w.number(ctx, `SELECT count(*) FROM receipts WHERE state NOT IN ('new', 'valid')`)
		if err == nil && n > 0 {
			return &brokenPromise{fmt.Sprintf("%d receipts are quarantined, because all were accused", n)}
		}
		return err
	}
	return s
}

// wrongClock has the clock of one of Apple's endpoints be off for everybody: checks
// are held until two probes, a minute apart, agree with ours.
func wrongClock() Scenario {
	ahead := applesim.Rule{Fault: applesim.FaultClock, Rate: 1, Skew: applesim.Duration(time.Hour), Environment: applesim.Production}
	s := distress("a clock an hour ahead", "all production replies dated an hour ahead", false, ahead)
	s.Patience = 5 * time.Minute
	return s
}
