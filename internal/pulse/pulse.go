// Package pulse reports whether the loops of a process still go round, for health
// checks. What a loop does, and what is done about one that is stuck, it leaves
// to others.
package pulse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrStuck is a loop that has not gone round for too long.
var ErrStuck = errors.New("stuck")

// Limit is the silence after which a loop counts as stuck. It is longer than all
// calls of one round may take together, each of which has a deadline, so that an
// outage of a store never makes a loop look stuck.
const Limit = 10 * time.Minute

// Loops are the loops of one part of a program. The zero value has none, and is
// ready to use. It is safe for concurrent use.
type Loops struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// Beat notes that a loop goes round.
func (l *Loops) Beat(loop string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = make(map[string]time.Time)
	}
	l.last[loop] = time.Now()
}

// End notes that a loop has ended, as it should.
func (l *Loops) End(loop string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.last, loop)
}

// Check fails with ErrStuck, and the names of the loops, where any is.
func (l *Loops) Check(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var stuck []string
	for loop, last := range l.last {
		if silence := time.Since(last); silence > Limit {
			stuck = append(stuck, fmt.Sprintf("%s for %s", loop, silence.Round(time.Second)))
		}
	}
	if len(stuck) == 0 {
		return nil
	}
	slices.Sort(stuck)
	return fmt.Errorf("%w: %s", ErrStuck, strings.Join(stuck, ", "))
}
