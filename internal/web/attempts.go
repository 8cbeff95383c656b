package web

import (
	"sync"
	"time"
)

// What failed log-ins cost an address: the first few nothing, each further one twice
// the wait of the one before. After a while without any it is all forgotten.
const (
	freeAttempts   = 5
	firstDelay     = time.Second
	longestDelay   = 30 * time.Second
	attemptsForget = 10 * time.Minute
	// mostAddresses bounds the memory. Who comes from yet another address shares the
	// delay of all of those.
	mostAddresses = 1000
	otherAddress  = ""
)

// attempts are the failed log-ins by address. They are of one process.
type attempts struct {
	now func() time.Time

	mu     sync.Mutex
	failed map[string]failures
}

type failures struct {
	count int
	last  time.Time
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, failed: make(map[string]failures)}
}

// wait is how long an address has to wait for its next try.
func (a *attempts) wait(address string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.failed[a.slot(address)]
	if f.count < freeAttempts {
		return 0
	}
	delay := longestDelay
	if doublings := f.count - freeAttempts; firstDelay <= longestDelay>>doublings {
		delay = firstDelay << doublings
	}
	return max(f.last.Add(delay).Sub(a.now()), 0)
}

// note counts a failed try.
func (a *attempts) note(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for slot, f := range a.failed {
		if now.Sub(f.last) > attemptsForget {
			delete(a.failed, slot)
		}
	}
	slot := a.slot(address)
	a.failed[slot] = failures{count: a.failed[slot].count + 1, last: now}
}

// forget is for an address that has logged in.
func (a *attempts) forget(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.failed, address)
}

func (a *attempts) slot(address string) string {
	if _, known := a.failed[address]; !known && len(a.failed) >= mostAddresses {
		return otherAddress
	}
	return address
}
