package worker

import (
	"log/slog"
	"sync"
)

// unknownFields logs keys and values in Apple's replies that the program does
// not know, or had to accept all the same: each once per process, so that a change on
// Apple's side is noticed and no log is flooded. How often they come is counted
// as a metric.
type unknownFields struct {
	log *slog.Logger

	mu  sync.Mutex
	met map[string]bool
}

// mostUnknown bounds what is remembered. Names beyond it are counted only.
const mostUnknown = 256

func newUnknownFields(log *slog.Logger) *unknownFields {
	return &unknownFields{log: log, met: make(map[string]bool)}
}

// note takes the names of one reply with how often each was met, and returns
// how many there were in all.
func (o *unknownFields) note(receiptID int64, unknown map[string]int) (total int) {
	for name, times := range unknown {
		total += times
		if o.isNew(name) {
			o.log.Warn("reply holds something unknown", "name", name, "receipt_id", receiptID)
		}
	}
	return total
}

func (o *unknownFields) isNew(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.met[name] || len(o.met) >= mostUnknown {
		return false
	}
	o.met[name] = true
	return true
}
