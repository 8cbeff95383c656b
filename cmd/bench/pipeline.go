package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// pace is what doing so many receipts took.
type pace struct {
	receipts int
	took     time.Duration // not measured of the baseline
	usage    usage         // of the process that asks Apple
	// others is the processor time of all other processes but the App Store.
	others time.Duration
}

func (p pace) perSecond() float64 { return float64(p.receipts) / p.took.Seconds() }

// cpu is that of the process that asks Apple, allCPU of all processes but the
// App Store, for a receipt.
func (p pace) cpu() time.Duration { return p.usage.cpu / time.Duration(p.receipts) }

func (p pace) allCPU() time.Duration { return (p.usage.cpu + p.others) / time.Duration(p.receipts) }

// runProgram has one worker do all that is due, fed by a run of its own
// process, and measures the worker.
func (s *stack) runProgram(ctx context.Context) (pace, error) {
	worker, err := s.b.start(ctx, s.env, "revalidator", "worker")
	if err != nil {
		return pace{}, err
	}
	defer worker.stop()
	if err := s.awaitWorkers(ctx, 1); err != nil {
		return pace{}, err
	}
	before, err := worker.used()
	if err != nil {
		return pace{}, err
	}
	idle, err := s.servers(ctx)
	if err != nil {
		return pace{}, err
	}
	out, scheduler, err := s.b.outputAndCPU(ctx, s.env, "revalidator", "run", "--quiet", "--json")
	if err != nil {
		return pace{}, err
	}
	after, err := worker.used()
	if err != nil {
		return pace{}, err
	}
	busy, err := s.servers(ctx)
	if err != nil {
		return pace{}, err
	}
	var run struct {
		Done    int     `json:"done"`
		Failed  int     `json:"failed"`
		Elapsed float64 `json:"elapsed_seconds"`
	}
	if err := json.Unmarshal(out, &run); err != nil {
		return pace{}, err
	}
	if run.Failed > 0 || run.Done == 0 {
		return pace{}, fmt.Errorf("the run did %d receipts and failed with %d", run.Done, run.Failed)
	}
	say("  beside the worker: scheduler %s, %s", each(scheduler, run.Done), idle.each(busy, run.Done))
	return pace{
		receipts: run.Done, took: time.Duration(run.Elapsed * float64(time.Second)),
		usage: usage{after.cpu - before.cpu, after.peak}, others: scheduler + busy.since(idle).total(),
	}, nil
}

// warmUp does the first receipts and has Postgres look at what the tables hold
// then, as it does by itself once a minute. Until it has, it checks foreign keys
// with plans for empty tables.
func (s *stack) warmUp(ctx context.Context, first int) error {
	if err := s.due(ctx, 0, first); err != nil {
		return err
	}
	if _, err := s.runProgram(ctx); err != nil {
		return err
	}
	if err := s.due(ctx, first, math.MaxInt32); err != nil {
		return err
	}
	return s.execAll(ctx, nil, `VACUUM ANALYZE`)
}

// awaitWorkers waits until so many workers have announced themselves.
func (s *stack) awaitWorkers(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		out, err := s.b.output(ctx, s.env, "revalidator", "status", "--json")
		if err != nil {
			return err
		}
		var status struct {
			Workers []struct{} `json:"workers"`
		}
		if err := json.Unmarshal(out, &status); err != nil {
			return err
		}
		if len(status.Workers) == n {
			return nil
		}
	}
}

// runBaseline has the baseline do all that it has, and measures it.
func (s *stack) runBaseline(ctx context.Context, url string, workers int) (pace, error) {
	idle, err := s.servers(ctx)
	if err != nil {
		return pace{}, err
	}
	p, err := s.b.start(ctx, s.env, roleBaseline, "-url", url, "-workers", strconv.Itoa(workers))
	if err != nil {
		return pace{}, err
	}
	defer p.stop()
	text, err := p.line()
	if err != nil {
		return pace{}, fmt.Errorf("the baseline: %w", err)
	}
	used, err := p.used()
	if err != nil {
		return pace{}, err
	}
	busy, err := s.servers(ctx)
	if err != nil {
		return pace{}, err
	}
	receipts, err := strconv.Atoi(text)
	if err != nil {
		return pace{}, err
	}
	say("  beside the baseline: Postgres %s each", each(busy.postgres-idle.postgres, receipts))
	return pace{receipts: receipts, usage: used, others: busy.postgres - idle.postgres}, nil
}

// smallReceipt is the size of a receipt with some ten purchases.
const smallReceipt = 8 << 10

// small measures receipts as most of them are, with an App Store that answers
// at once: what is left is what the program itself costs.
func (b *bench) small(ctx context.Context) error {
	s, err := b.newStack(ctx, true)
	if err != nil {
		return err
	}
	defer s.close()
	store, url, err := s.appStore(ctx, "-records", "20", "-receipt-bytes", strconv.Itoa(smallReceipt))
	if err != nil {
		return err
	}
	defer store.stop()
	n := b.size(20_000)
	if err := s.fill(ctx, n, smallReceipt); err != nil {
		return err
	}
	if err := s.fillBaseline(ctx, n/3); err != nil {
		return err
	}
	base, err := s.runBaseline(ctx, url, 32)
	if err != nil {
		return err
	}
	if err := s.warmUp(ctx, n/20); err != nil {
		return err
	}
	before, err := s.noop(ctx, n)
	if err != nil {
		return err
	}
	ours, err := s.runProgram(ctx)
	if err != nil {
		return err
	}
	after, err := s.noop(ctx, n)
	if err != nil {
		return err
	}
	ceiling := (before + after) / 2
	b.table.add(row{
		name: b.name("SmallAllCPU"), what: "8 KB receipts, CPU of all processes but the App Store each", target: "≤ 0.45×, later ≤ 1/3",
	}.cpu(ours.allCPU(), base.allCPU(), time.Microsecond, 0.45))
	b.table.add(row{
		name: b.name("SmallCPU"), what: "8 KB receipts, CPU of the worker each", target: "≤ 0.6×",
	}.cpu(ours.cpu(), base.cpu(), time.Microsecond, 0.6))
	share := ours.perSecond() / ceiling
	b.table.add(row{
		name: b.name("SmallSpeed"), what: "8 KB receipts, against no-op tasks of asynq",
		figure: figure{value: ours.perSecond(), unit: unitSpeed, ratio: share},
		ours:   perSecond(ours.perSecond()), baseline: perSecond(ceiling),
		ratio: times(share), target: "≥ 0.25×", met: share >= 0.25,
	})
	return nil
}

// noop is how many tasks a second asynq does without any work in them.
func (s *stack) noop(ctx context.Context, tasks int) (float64, error) {
	out, err := s.b.output(ctx, s.env, roleNoop, "-tasks", strconv.Itoa(tasks))
	if err != nil {
		return 0, err
	}
	took, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return float64(tasks) / time.Duration(took).Seconds(), err
}

// largeReceipt is nearly the largest that a request of 3 MiB has room for.
const (
	largeReceipt = 2_200_000
	largeRecords = 5_450 // at some 402 bytes each
	inFlight     = 64
)

// large measures the largest receipts that verifyReceipt accepts.
func (b *bench) large(ctx context.Context) error {
	s, err := b.newStack(ctx, true, fmt.Sprintf("REVALIDATOR_LARGE_CONCURRENCY=%d", inFlight))
	if err != nil {
		return err
	}
	defer s.close()
	store, url, err := s.appStore(ctx, "-records", strconv.Itoa(largeRecords), "-receipt-bytes", strconv.Itoa(largeReceipt))
	if err != nil {
		return err
	}
	defer store.stop()
	n := b.size(192)
	if err := s.fill(ctx, n, largeReceipt); err != nil {
		return err
	}
	if err := s.fillBaseline(ctx, n); err != nil {
		return err
	}
	base, err := s.runBaseline(ctx, url, inFlight)
	if err != nil {
		return err
	}
	ours, err := s.runProgram(ctx)
	if err != nil {
		return err
	}
	memory := float64(ours.usage.peak) / float64(base.usage.peak)
	b.table.add(row{
		name: b.name("LargeMemory"), what: "2.2 MB receipts, 64 in flight, peak memory of the worker",
		figure: figure{value: float64(ours.usage.peak), unit: unitMemory, ratio: memory},
		ours:   mib(ours.usage.peak), baseline: mib(base.usage.peak), ratio: fmt.Sprintf("1/%.0f", 1/memory),
		target: "≤ 1/20, ≤ 96 MiB", met: memory <= 1.0/20 && ours.usage.peak <= 96<<20,
	})
	b.table.add(row{
		name: b.name("LargeCPU"), what: "2.2 MB receipts, CPU of the worker each", target: "≤ 0.25×",
	}.cpu(ours.cpu(), base.cpu(), time.Millisecond, 0.25))
	return nil
}
