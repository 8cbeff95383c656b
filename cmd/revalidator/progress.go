package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/schollz/progressbar/v3"

	"revalidator/internal/ledger"
)

// watchEvery is how often the progress of a run is read.
const watchEvery = 500 * time.Millisecond

// patience is how long a run may stand still before its workers are missed: one
// that is starting should not be called missing.
const patience = 5 * time.Second

// watch shows the progress of a run until ctx ends.
func (p *program) watch(ctx context.Context, parts *parts, id int64) {
	bar := p.receiptBar(id)
	missing := &missingWorkers{since: time.Now()}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		// The last look comes after ctx has ended, so that the bar ends where
		// the run has.
		look, cancel := context.WithTimeout(context.WithoutCancel(ctx), reachTimeout)
		totals, err := parts.db.RunTotals(look, id)
		cancel()
		if err == nil {
			bar.show(totals)
		}
		if err == nil && ctx.Err() == nil && missing.due(totals, time.Now()) {
			bar.clear()
			p.warnWithoutWorkers(parts)
		}
		if ctx.Err() != nil {
			bar.end()
			return
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// missingWorkers finds out once whether a run has stood still for too long.
type missingWorkers struct {
	since time.Time // of the last progress
	done  int64
	told  bool
}

func (m *missingWorkers) due(t ledger.RunTotals, now time.Time) bool {
	if t.Done > m.done || t.Due == nil {
		m.since, m.done = now, t.Done
	}
	if m.told || t.InRun != nil && *t.InRun == 0 || now.Sub(m.since) < patience {
		return false
	}
	m.told = true
	return true
}

// warnWithoutWorkers says what is missing where nobody would do the work.
func (p *program) warnWithoutWorkers(parts *parts) {
	servers, err := asynq.NewInspectorFromRedisClient(parts.redis).Servers()
	if err == nil && len(servers) == 0 {
		p.note("no worker is running: start one with 'revalidator worker' in another terminal;\nthe run goes on as soon as there is one")
	}
}

// showsProgress reports whether a person looks and wants to see bars.
func (p *program) showsProgress() bool { return !p.quiet && isTerminal(p.stderr) }

// receiptBar is a progress bar over the receipts of a run. It is drawn on a
// terminal only, and not before something is due.
type receiptBar struct {
	program *program
	name    string
	bar     *progressbar.ProgressBar
	due     int64 // that the bar is over
}

func (p *program) receiptBar(id int64) *receiptBar {
	return &receiptBar{program: p, name: fmt.Sprintf("run %d", id)}
}

func (b *receiptBar) show(t ledger.RunTotals) {
	if !b.program.showsProgress() || t.Counted() == 0 {
		return
	}
	if b.bar == nil {
		b.due = *t.Due
		b.bar = progressbar.NewOptions64(b.due,
			progressbar.OptionSetWriter(b.program.stderr),
			progressbar.OptionSetDescription(b.name),
			progressbar.OptionSetItsString("receipts"),
			progressbar.OptionShowIts(),
			progressbar.OptionShowCount(),
			progressbar.OptionSetWidth(barWidth),
			progressbar.OptionSetPredictTime(true),
		)
	}
	if b.due != *t.Due { // more may come to a run
		b.bar.ChangeMax64(*t.Due)
		b.due = *t.Due
	}
	_ = b.bar.Set64(*t.Due - *t.InRun)
}

// barWidth leaves room in 80 columns for the counts of a run of a million
// receipts.
const barWidth = 10

// clear makes room for a line of text.
func (b *receiptBar) clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

// end leaves the bar as it is, and what follows to the next line.
func (b *receiptBar) end() {
	if b.bar != nil {
		_ = b.bar.Exit()
		fmt.Fprintln(b.program.stderr)
	}
}

// byteBar is a progress bar over bytes of a file, which leaves nothing behind
// and is silent where nobody looks. A negative size is one that is not known.
func (p *program) byteBar(size int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size,
		progressbar.OptionSetVisibility(p.showsProgress()),
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionSetDescription("import"),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(2*barWidth),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
		// Else a bar of unknown length draws itself in a goroutine of its own,
		// which Clear does not wait for.
		progressbar.OptionSetSpinnerChangeInterval(0),
	)
}
