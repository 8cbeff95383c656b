package worker

import (
	"context"
	"errors"

	"golang.org/x/sync/semaphore"
)

// errNoRoom is a receipt for which there was no memory while its task had time.
// It is given back.
var errNoRoom = errors.New("no memory for the receipt")

// What a receipt in hand holds in memory: the windows of its request and reply
// and the buffers of the connection, and for each record of its reply, of which
// there is one for some 400 bytes of receipt, 44 bytes in each of two lists.
const (
	memoryEach    = 80 << 10
	memoryPerByte = 0.22
)

// memory is the budget of bytes that the receipts in hand share, over all
// queues. It is first come, first served, so that a large receipt is not passed
// for ever; large ones get three quarters of it at most, so that the others
// never wait for them all.
type memory struct {
	all, large           *semaphore.Weighted
	allBytes, largeBytes int64
}

func newMemory(bytes int64) *memory {
	m := &memory{allBytes: bytes, largeBytes: bytes / 4 * 3}
	m.all, m.large = semaphore.NewWeighted(m.allBytes), semaphore.NewWeighted(m.largeBytes)
	return m
}

// weight is what a receipt of a size takes of the budget. One that would take
// more than there is gets through alone.
func (m *memory) weight(size int64) int64 {
	return min(memoryEach+int64(float64(size)*memoryPerByte), m.largeBytes)
}

// acquire waits until there is room for a receipt of a size.
func (m *memory) acquire(ctx context.Context, size int64) (release func(), err error) {
	n := m.weight(size)
	isLarge := n > 2*memoryEach
	if isLarge {
		if err := take(ctx, m.large, n); err != nil {
			return nil, err
		}
	}
	if err := take(ctx, m.all, n); err != nil {
		if isLarge {
			m.large.Release(n)
		}
		return nil, err
	}
	return func() {
		m.all.Release(n)
		if isLarge {
			m.large.Release(n)
		}
	}, nil
}

// take takes n, at once where there is no need to wait: also after ctx has ended.
func take(ctx context.Context, s *semaphore.Weighted, n int64) error {
	if s.TryAcquire(n) {
		return nil
	}
	return s.Acquire(ctx, n)
}

// room waits until there is memory for a receipt, and no longer than the worker
// runs.
func (w *Worker) room(ctx context.Context, size int64) (release func(), err error) {
	waiting, cancel := w.untilStopped(ctx)
	defer cancel()
	release, err = w.memory.acquire(waiting, size)
	if err != nil && ctx.Err() != nil {
		return nil, errNoRoom
	}
	return release, err
}
