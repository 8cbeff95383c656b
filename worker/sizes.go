package worker

import (
	"fmt"
	"math/bits"
	"sync"
	"time"
)

// watchedFor is for how long the budget of a size is asked after something before
// Apple refused a request of it: longer than a breaker pauses.
const watchedFor = time.Hour

// sizes remembers the budgets of requests of a size that were refused for it, so
// that no others cost a call to Redis. Each worker learns of them by a refusal of
// its own.
type sizes struct {
	mu    sync.Mutex
	until map[string]time.Time // by budget
}

func newSizes() *sizes { return &sizes{until: make(map[string]time.Time)} }

func (s *sizes) watch(budget string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until[budget] = now.Add(watchedFor)
}

func (s *sizes) areEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.until) == 0
}

func (s *sizes) isWatched(budget string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, known := s.until[budget]
	if known && !now.Before(until) {
		delete(s.until, budget)
	}
	return now.Before(until)
}

// sizeName is about how large the request of a receipt is, with its base64: a
// power of two, because that is what proxies are set to.
func sizeName(receiptBytes int64) string {
	request := (receiptBytes + 2) / 3 * 4
	if request < smallest {
		return "up to 8 KiB"
	}
	from := int64(1) << (bits.Len64(uint64(request)) - 1)
	if from >= 1<<20 {
		return fmt.Sprintf("%d to %d MiB", from>>20, from>>19)
	}
	return fmt.Sprintf("%d to %d KiB", from>>10, from>>9)
}

// smallest is below which size all requests are one class.
const smallest = 8 << 10
