package clock

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Pair are the clocks of a process. The zero value shows this machine's time, for a
// process that needs no database.
type Pair struct {
	// Shared is the database's clock: all processes agree on it, whatever the
	// clocks of their machines show. Leases, rates and deadlines follow it.
	Shared *Clock
	// Apple is the clock that Apple's dates are compared with, by which receipts
	// are due and results are dated: Shared, unless the App Store is simulated.
	Apple *Clock
}

// simulatedEvery is how soon it is seen that a simulated clock was set.
const simulatedEvery = time.Second

// NewPair prepares the clocks, of the database and of the simulator at an address
// that may be empty, and reads none yet.
func NewPair(database func(context.Context) (time.Time, error), simulator string, log *slog.Logger) (p Pair, err error) {
	read := func(ctx context.Context) (Reading, error) {
		now, err := database(ctx)
		return Reading{At: now, Speed: 1}, err
	}
	if p.Shared, err = New(Config{Name: "database", Read: read, Logger: log}); err != nil {
		return Pair{}, err
	}
	p.Apple = p.Shared
	if simulator != "" {
		p.Apple, err = New(Config{Name: "simulated App Store", Read: Simulator(simulator), Every: simulatedEvery, Logger: log})
	}
	return p, err
}

// Differ is whether Apple's dates follow another clock than the shared one.
func (p *Pair) Differ() bool { return p.Apple != p.Shared }

// Measure reads the clocks now.
func (p *Pair) Measure(ctx context.Context) error {
	if err := p.Shared.Measure(ctx); err != nil || !p.Differ() {
		return err
	}
	return p.Apple.Measure(ctx)
}

// Keep reads the clocks again and again until stop, which waits for its end.
func (p *Pair) Keep(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { p.Shared.Run(ctx) })
	if p.Differ() {
		running.Go(func() { p.Apple.Run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// Now is the time by the clock that all processes share.
func (p *Pair) Now() time.Time {
	if p.Shared == nil {
		return time.Now().UTC()
	}
	return p.Shared.Now()
}

// AppleTime is the time by the clock of Apple's dates.
func (p *Pair) AppleTime() time.Time {
	if p.Apple == nil {
		return time.Now().UTC()
	}
	return p.Apple.Now()
}

// DateOf is a time of the shared clock by the clock of Apple's dates.
func (p *Pair) DateOf(now time.Time) time.Time {
	if !p.Differ() {
		return now
	}
	return now.Add(p.AppleTime().Sub(p.Now()))
}
