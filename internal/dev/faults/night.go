package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"revalidator/internal/dev/applesim"
	"revalidator/internal/dev/judge"
)

const (
	// patience bounds each wait for a condition, on a busy machine.
	patience = 90 * time.Second
	// scenarioTime bounds a scenario as a whole.
	scenarioTime = 5 * time.Minute
	// ways is how much the way of a call from the limiter to the App Store may
	// differ between calls. What a busy machine is late with comes on top.
	ways = 750 * time.Millisecond
)

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// Run runs one scenario. Its error is one of the harness; what is wrong with
// the program is in the result.
func (s *Suite) Run(ctx context.Context, sc Scenario) (r Result, err error) {
	began := time.Now()
	r = Result{Name: sc.Name, Faults: sc.Injects()}
	ctx, cancel := context.WithTimeoutCause(ctx, sc.bound(), fmt.Errorf("the scenario took more than %s", sc.bound()))
	defer cancel()
	w, err := s.newWorld(ctx, sc, notInNames.ReplaceAllString(strings.ToLower(sc.Name), "_"))
	var skip *SkipError
	if errors.As(err, &skip) {
		r.Skipped = skip.Reason
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", sc.Name, err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.play(ctx, &r); err != nil {
		return r, fmt.Errorf("%s: %w", sc.Name, err)
	}
	r.Took = time.Since(began)
	return r, nil
}

// play is the night: all start, the harm is done, the run ends, all stop, and
// the judge speaks.
func (w *World) play(ctx context.Context, r *Result) error {
	w.started = w.now()
	start := (*World).startAll
	if w.scenario.Start != nil {
		start = w.scenario.Start
	}
	if err := start(w); err != nil {
		return err
	}
	var complaints []string
	stopWatch := watchLag()
	err := w.attack(ctx, r)
	if err == nil {
		err = await(ctx, "the run is finished", w.scenario.patience(), w.Finished)
	}
	if err == nil && w.scenario.Again {
		err = w.again(ctx)
	}
	var broken *brokenPromise
	switch {
	case errors.As(err, &broken):
		complaints = append(complaints, broken.complaint)
	case err != nil:
		// The judge says what is missing.
		complaints = append(complaints, err.Error())
	}
	w.lag = stopWatch()
	complaints = append(complaints, w.stopAll()...)
	verdict, err := w.verdict(ctx)
	verdict.Complaints = slices.Concat(complaints, w.heldBack(), verdict.Complaints)
	r.Verdict, r.InFlight, r.Calls, r.Probes = verdict, w.inFlight, w.calls, w.probes
	return err
}

func (w *World) startAll() error {
	for range cmp.Or(w.scenario.Workers, 2) {
		if err := w.StartWorker(); err != nil {
			return err
		}
	}
	for range cmp.Or(w.scenario.Schedulers, 1) {
		if err := w.StartScheduler(); err != nil {
			return err
		}
	}
	return nil
}

// again is one more run over everything.
func (w *World) again(ctx context.Context) error {
	w.passOver()
	w.runs++
	if err := w.makeAllDue(ctx); err != nil {
		return err
	}
	return w.suite.command(ctx, w.feederEnv, "run", "--quiet")
}

// attack does the harm and measures how long it takes to get over it.
func (w *World) attack(ctx context.Context, r *Result) error {
	if err := w.scenario.Attack(ctx, w); err != nil {
		return err
	}
	over := time.Now()
	done, err := w.Done(ctx)
	if err != nil {
		return err
	}
	recovered := func(ctx context.Context) (bool, error) {
		now, err := w.Done(ctx)
		return now > done || now == w.suite.receipts, err
	}
	if w.scenario.Recovered != nil {
		recovered = func(ctx context.Context) (bool, error) { return w.scenario.Recovered(ctx, w) }
	}
	if err := await(ctx, "the harm is overcome", w.scenario.patience(), recovered); err != nil {
		return err
	}
	r.Recovery = time.Since(over)
	return nil
}

// verdict judges the night.
func (w *World) verdict(ctx context.Context) (judge.Verdict, error) {
	runs, err := w.number(ctx, `SELECT count(*) FROM runs WHERE id > 1`)
	if err != nil {
		return judge.Verdict{}, err
	}
	if runs == 0 {
		return judge.Verdict{Complaints: []string{"no run was opened"}}, nil
	}
	id, err := w.number(ctx, `SELECT max(id) FROM runs`)
	if err != nil {
		return judge.Verdict{}, err
	}
	verdict, err := w.judge.Judge(ctx, judge.Case{
		RunID: int64(id), Since: w.since, Started: w.started, Duplicates: w.duplicates(),
		Rate: w.rate, Burst: burst, RateSlack: max(ways, w.scenario.RateSlack) + 2*w.lag, Late: w.scenario.Late, Accepted: true,
	})
	if err != nil {
		return verdict, err
	}
	if runs != w.runs {
		verdict.Complaints = append(verdict.Complaints, fmt.Sprintf("%d runs, want %d", runs, w.runs))
	}
	untraced, err := w.replayClaims(ctx)
	if err != nil {
		return verdict, err
	}
	verdict.Complaints = append(verdict.Complaints, untraced...)
	places, err := w.texts(ctx)
	if err != nil {
		return verdict, err
	}
	for _, place := range panics(places) {
		verdict.Complaints = append(verdict.Complaints, place+": a panic ended it")
	}
	markers, err := w.judge.Markers(bundleIDs())
	if err != nil {
		return verdict, err
	}
	leaks := judge.Leaks(markers, places)
	slices.Sort(leaks)
	verdict.Complaints = append(verdict.Complaints, leaks...)
	return verdict, nil
}

// duplicates is how many receipts may have been checked again: those whose
// answers were on their way when a process was killed or a way was cut, or one
// in a hundred.
func (w *World) duplicates() int {
	most := w.suite.receipts / 100
	if w.scenario.AsksAgain {
		return max(most, w.inFlight)
	}
	return most
}

func bundleIDs() []string {
	var ids []string
	for _, app := range applesim.DefaultApps(simSeed) {
		ids = append(ids, app.BundleID)
	}
	return ids
}

// watchLag watches how late this machine wakes whoever sleeps, until stop tells
// the worst of it: the programs are as late.
func watchLag() (stop func() time.Duration) {
	const tick = 10 * time.Millisecond
	ended, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		var lag time.Duration
		last := time.Now()
		for {
			select {
			case <-ended:
				worst <- lag
				return
			case <-time.After(tick):
			}
			now := time.Now()
			lag = max(lag, now.Sub(last)-tick)
			last = now
		}
	}()
	return func() time.Duration { close(ended); return <-worst }
}
