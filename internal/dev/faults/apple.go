package faults

import (
	"context"
	"net/http"
	"time"

	"revalidator/internal/dev/applesim"
)

func appleScenarios() []Scenario {
	return []Scenario{
		{
			Name: "Apple down", Faults: "connections refused", Lasts: outage, HeldBack: true, AsksAgain: true,
			Attack: afterAStart(func(ctx context.Context, w *World) error {
				return w.during(ctx, func() error {
					w.WorkerApple.Cut()
					if err := hold(ctx, w.scenario.Lasts); err != nil {
						return err
					}
					return w.WorkerApple.Mend(ctx)
				})
			}),
		},
		blackout("Apple 503", "HTTP 503 with HTML for everybody", true, httpStatus(http.StatusServiceUnavailable, 0)),
		blackout("Apple silent", "no answer after the body was sent", false, fault(applesim.FaultTimeout)),
		blackout("Apple resets", "connection reset before the answer", false, fault(applesim.FaultReset)),
		blackout("Apple 21002", "21002 for everybody", false, code(21002)),
		blackout("Apple 21005 21009 211xx", "a third of each for everybody", false,
			share(code(21005), 3), share(code(21009), 2), code(21199)),
		distress("Apple 429", "HTTP 429 without Retry-After", false, httpStatus(http.StatusTooManyRequests, 0)),
		distress("Apple 429 with time", "HTTP 429 with Retry-After of 3 s", false, httpStatus(http.StatusTooManyRequests, 3*time.Second)),
		blackout("replies cut", "cut in the status, within a key, a value, between records, at the end", false,
			share(cut(0.0005), 5), share(cut(0.05), 4), share(cut(0.33), 3), share(cut(0.7), 2), cut(0.999)),
		blackout("replies of wrong length", "half of the bytes that were promised", false, fault(applesim.FaultLength)),
		distress("replies endless", "a reply without an end for a tenth of the calls", false, share(fault(applesim.FaultEndless), 10)),
		distress("replies are bombs", "128 MB in a small gzip for a tenth of the calls", false, share(fault(applesim.FaultBomb), 10)),
		distress("replies drip", "a byte every 100 ms for a tenth of the calls", false, share(fault(applesim.FaultDrip), 10)),
		distress("replies no JSON", "HTML, nothing, control characters, a third each", false,
			share(fault(applesim.FaultHTML), 3), share(fault(applesim.FaultEmpty), 2), fault(applesim.FaultControl)),
		another(),
		old(),
		mixed(),
	}
}

func fault(f applesim.Fault) applesim.Rule { return applesim.Rule{Fault: f, Rate: 1} }
func code(status int) applesim.Rule {
	return applesim.Rule{Fault: applesim.FaultCode, Status: status, Rate: 1}
}
func cut(fraction float64) applesim.Rule {
	return applesim.Rule{Fault: applesim.FaultCut, Fraction: fraction, Rate: 1}
}

func httpStatus(status int, retryAfter time.Duration) applesim.Rule {
	return applesim.Rule{Fault: applesim.FaultHTTP, Status: status, RetryAfter: applesim.Duration(retryAfter), Rate: 1}
}

// share is a rule for one in n of the calls that no rule before it took.
func share(r applesim.Rule, n int) applesim.Rule {
	r.Rate = 1 / float64(n)
	return r
}

// distress has calls go wrong by some rules for a while.
func distress(name, faults string, short bool, rules ...applesim.Rule) Scenario {
	return Scenario{
		Name: name, Faults: faults, Lasts: outage, Short: short,
		Attack: afterAStart(func(ctx context.Context, w *World) error {
			return w.suffer(ctx, w.scenario.Lasts, rules...)
		}),
	}
}

// blackout is distress by rules that leave nobody a good answer.
func blackout(name, faults string, short bool, rules ...applesim.Rule) Scenario {
	s := distress(name, faults, short, rules...)
	s.HeldBack = true
	return s
}

func (w *World) suffer(ctx context.Context, d time.Duration, rules ...applesim.Rule) error {
	if err := w.Sim.SetFaults(rules); err != nil {
		return err
	}
	w.trouble = time.Now()
	if err := hold(ctx, d); err != nil {
		return err
	}
	w.countCalls(w.trouble.Add(d))
	return w.Sim.SetFaults(nil)
}

// old has the first reply for a third of the customers be of an earlier time, by
// its own date as well: hours ago, or years, and no two from the same minute.
// Nothing of it may be stored, and a minute later another one is asked for.
func old() Scenario {
	return Scenario{
		Name: "replies older than the last", Faults: "the first for a third of the customers is hours to years old, by its own date",
		Patience: time.Minute,
		Attack: func(ctx context.Context, w *World) error {
			older := applesim.Rule{Fault: applesim.FaultStale, Age: applesim.Duration(time.Hour), Jitter: applesim.Duration(1000 * 24 * time.Hour), Rate: 1, First: 1}
			if err := w.Sim.SetFaults([]applesim.Rule{share(older, 3)}); err != nil {
				return err
			}
			return await(ctx, "the run is finished", w.scenario.patience(), w.Finished)
		},
		Recovered: atOnce,
	}
}

// another has replies for another app accuse some receipts. They are asked about
// again on another day.
func another() Scenario {
	return Scenario{
		Name: "replies for another app", Faults: "another bundle id for everybody, for 3 s; then a second run", Again: true,
		Attack: afterAStart(func(ctx context.Context, w *World) error {
			return w.suffer(ctx, 3*time.Second, fault(applesim.FaultWrongApp))
		}),
	}
}

// mixed is a bad night: a little of everything, all the time.
func mixed() Scenario {
	return Scenario{
		Name: "a bad night", Faults: "a fifth of all calls at fault, in every way, all night", Short: true,
		Prepare: func(_ context.Context, w *World) error { return w.Sim.SetFaults(badNight()) },
		Attack:  func(ctx context.Context, w *World) error { return w.Progress(ctx, 1) },
	}
}

func badNight() []applesim.Rule {
	var rules []applesim.Rule
	for _, r := range []applesim.Rule{
		httpStatus(http.StatusServiceUnavailable, 0), httpStatus(http.StatusInternalServerError, 0), code(21005), code(21009), code(21199), code(21002),
		fault(applesim.FaultReset), fault(applesim.FaultTimeout), fault(applesim.FaultEmpty), fault(applesim.FaultHTML),
		cut(0.5), fault(applesim.FaultLength), fault(applesim.FaultControl),
	} {
		rules = append(rules, share(r, 65))
	}
	return append(rules, applesim.Rule{Fault: applesim.FaultLatency, Latency: applesim.Duration(20 * time.Millisecond), Jitter: applesim.Duration(60 * time.Millisecond), Rate: 1})
}

// slowAppStore has each answer take half a second.
func slowAppStore(_ context.Context, w *World) error {
	return w.Sim.SetFaults([]applesim.Rule{{
		Fault: applesim.FaultLatency, Latency: applesim.Duration(500 * time.Millisecond), Rate: 1,
	}})
}
