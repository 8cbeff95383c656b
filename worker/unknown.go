package worker

import (
	"log/slog"
	"sync"
)

// oddities tells of keys and values in Apple's replies that the program does
// not know, or had to accept all the same: each once per process, so that a change on
// Apple's side is noticed and no log is flooded. How often they come is counted
// as a metric.
type oddities struct {
	log *slog.Logger

	mu  sync.Mutex
	met map[string]bool
}

// mostOddities bounds what is remembered. Names beyond it are counted only.
const mostOddities = 256

func newOddities(log *slog.Logger) *oddities {
	return &oddities{log: log, met: make(map[string]bool)}
}

// note takes the names of one reply with how often each was met, and returns
// how many there were in all.
func (o *oddities) note(receiptID int64, unknown map[string]int) (total int) {
	for name, times := range unknown {
		total += times
		if o.isNew(name) {
			o.log.Warn("reply holds something unknown", "name", name, "receipt_id", receiptID)
		}
	}
	return total
}

func (o *oddities) isNew(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.met[name] || len(o.met) >= mostOddities {
		return false
	}
	o.met[name] = true
	return true
}
