package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"revalidator/internal/dev/judge"
)

// SoakConfig is a soak: nights in a row on one installation, with everything
// going wrong now and then, at random.
type SoakConfig struct {
	Suite  SuiteConfig
	Nights int
	// Seed makes what goes wrong; when it does so depends on the machine.
	Seed uint64
}

// Night is what was found at the end of one night of a soak.
type Night struct {
	judge.Verdict
	// Harm is what was done, in order.
	Harm []string
	Use  Use
	Took time.Duration
}

const (
	// week is the simulated time between two nights of a soak.
	week = 7 * 24 * time.Hour
	// harmEvery is the time between two harms.
	harmEvery = 5 * time.Second
	// soakPrograms is how many programs are kept running: the steady worker, two
	// others and a scheduler.
	soakPrograms = 4
	// soakRate is that of each app: what a machine with two cores can do while
	// the App Store, Postgres and Redis run on it too.
	soakRate = 300
	// nightTime bounds a night of a soak for each thousand receipts, and a
	// minute.
	nightTime = 40 * time.Second
)

// Soak does nights in a row, and tells of each as it ends. Its error is one of
// the harness; broken promises are in the verdicts.
func Soak(ctx context.Context, cfg SoakConfig, each func(Night)) (err error) {
	cfg.Suite.Back = time.Duration(cfg.Nights+1) * week
	// The judge knows the past by what was answered: all of it, with room for what
	// is asked again.
	cfg.Suite.LogSize = 3 * (cfg.Nights + 1) * cfg.Suite.Receipts
	suite, err := NewSuite(ctx, cfg.Suite)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, suite.Close()) }()
	if err := suite.vacuumOften(ctx); err != nil {
		return err
	}
	w, err := suite.newWorld(ctx, Scenario{
		Name: "soak", Length: time.Duration(cfg.Suite.Receipts) * time.Second / soakRate / 2,
		Settings: []string{standsStill},
	}, "soak")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	s := &soak{World: w, random: rand.New(rand.NewPCG(cfg.Seed, 1)), receipts: cfg.Suite.Receipts}
	if err := s.begin(ctx); err != nil {
		return err
	}
	for n := range cfg.Nights {
		night, err := s.night(ctx, n == cfg.Nights-1)
		if err != nil {
			return fmt.Errorf("night %d: %w", n+1, err)
		}
		each(night)
	}
	return nil
}

// vacuumOften has autovacuum look each second, because a day takes a minute here.
func (s *Suite) vacuumOften(ctx context.Context) error {
	for _, statement := range []string{`ALTER SYSTEM SET autovacuum_naptime = '1s'`, `SELECT pg_reload_conf()`} {
		if _, err := s.admin.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

type soak struct {
	*World
	random   *rand.Rand
	receipts int
	// steady is the worker that nothing happens to but through its servers, and
	// metrics where it describes itself.
	steady  *process
	metrics string
	// first is what was used after the first night.
	first *Use
}

func (s *soak) begin(ctx context.Context) (err error) {
	s.Sim.Clock().Set(s.suite.start)
	if err := s.makeAllDue(ctx); err != nil {
		return err
	}
	if s.metrics, err = freeAddress(); err != nil {
		return err
	}
	if s.steady, err = s.start(append(s.workerEnv, "REVALIDATOR_METRICS_ADDR="+s.metrics), "worker"); err != nil {
		return err
	}
	for _, start := range []func() error{s.StartWorker, s.StartWorker, s.StartScheduler} {
		if err := start(); err != nil {
			return err
		}
	}
	return await(ctx, "the slot's own run is over", patience+s.bound(), s.Finished)
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}

func (s *soak) bound() time.Duration {
	return time.Minute + nightTime*time.Duration(s.receipts)/1000
}

// night makes all due a week later, runs, and does harm until the run is over.
func (s *soak) night(ctx context.Context, last bool) (night Night, err error) {
	s.Sim.Clock().Advance(week)
	for e := range s.Sim.Log(0) {
		s.since = e.Seq
	}
	began := time.Now()
	s.started, s.inFlight = s.now(), 0
	if err := s.makeAllDue(ctx); err != nil {
		return night, err
	}
	if err := s.Sim.SetFaults(badNight()); err != nil {
		return night, err
	}
	if s.before, err = s.number(ctx, `SELECT max(id) FROM runs`); err != nil {
		return night, err
	}
	before, err := s.runs(ctx)
	if err != nil {
		return night, err
	}
	if _, err := s.start(s.feederEnv, "run", "--quiet"); err != nil {
		return night, err
	}
	over := func(ctx context.Context) (bool, error) {
		now, err := s.runs(ctx)
		if err != nil || now == before {
			return false, err
		}
		return s.Finished(ctx)
	}
	if night.Harm, err = s.harmUntil(ctx, over); err != nil {
		return night, err
	}
	night.Took = time.Since(began)
	if err := s.Sim.SetFaults(nil); err != nil {
		return night, err
	}
	id, err := s.number(ctx, `SELECT max(id) FROM runs`)
	if err != nil {
		return night, err
	}
	night.Verdict, err = s.judge.Judge(ctx, judge.Case{
		RunID: int64(id), Since: s.since, Started: s.started, Quick: !last,
		// What was in flight at each kill, and at each cut of the way to Apple.
		Duplicates: max(s.receipts/100, s.inFlight), Rate: s.rate, Burst: burst, RateSlack: 2 * time.Second,
	})
	if err != nil {
		return night, err
	}
	night.Use, err = s.atRest(ctx)
	return night, err
}

// runs counts those that are finished.
func (s *soak) runs(ctx context.Context) (int, error) {
	return s.number(ctx, `SELECT count(*) FROM runs WHERE state = 'finished'`)
}

// harmUntil does something at random every few seconds until a condition holds.
func (s *soak) harmUntil(ctx context.Context, over func(context.Context) (bool, error)) (done []string, err error) {
	bounded, cancel := context.WithTimeoutCause(ctx, s.bound(), fmt.Errorf("the night took more than %s", s.bound()))
	defer cancel()
	for {
		next, cancel := context.WithTimeout(bounded, harmEvery)
		err := await(next, "the night is over", s.bound(), over)
		cancel()
		if err == nil {
			return done, nil
		}
		if bounded.Err() != nil {
			return done, context.Cause(bounded)
		}
		name, harm := s.choose()
		done = append(done, name)
		if err := harm(bounded); err != nil {
			return done, fmt.Errorf("%s: %w", name, err)
		}
	}
}

func (s *soak) choose() (string, func(context.Context) error) {
	harms := []struct {
		name string
		do   func(context.Context) error
	}{
		{"worker killed", func(ctx context.Context) error {
			return errors.Join(s.KillWorker(ctx), s.StartWorker())
		}},
		{"worker stopped", func(context.Context) error {
			return errors.Join(s.StopWorker(), s.StartWorker())
		}},
		{"scheduler killed", func(context.Context) error {
			return errors.Join(s.KillScheduler(), s.StartScheduler())
		}},
		{"Redis emptied", func(ctx context.Context) error {
			return errors.Join(s.lose(ctx), s.Redis.FlushAll(ctx).Err())
		}},
		{"Redis cut", func(ctx context.Context) error { return s.cut(ctx, s.WorkerRedis) }},
		{"Postgres crashed", func(ctx context.Context) error { return s.crashPostgres(ctx, time.Second) }},
		{"Apple cut", func(ctx context.Context) error { return s.cut(ctx, s.WorkerApple) }},
		{"scheduler cut off", func(ctx context.Context) error {
			return errors.Join(s.cut(ctx, s.SchedulerPostgres), s.cut(ctx, s.SchedulerRedis))
		}},
	}
	chosen := harms[s.random.IntN(len(harms))]
	return chosen.name, chosen.do
}

// cut has a way be down for two seconds.
func (s *soak) cut(ctx context.Context, l *Link) error {
	return s.during(ctx, func() error {
		l.Cut()
		if err := hold(ctx, 2*time.Second); err != nil {
			return err
		}
		return l.Mend(ctx)
	})
}
