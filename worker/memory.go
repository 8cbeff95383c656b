package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"revalidator/internal/claim"
)

var (
	// errNoRoom is a receipt for which there was no memory while its task had
	// time. It is given back.
	errNoRoom = errors.New("no memory for the receipt")
	// errNeverRoom is a reply that would take more than all replies may together.
	errNeverRoom = errors.New("reply too large: it takes more memory than all replies may (REVALIDATOR_MEMORY_BYTES)")
)

const (
	// memoryEach is what a receipt in hand holds in memory: the windows of its
	// request and reply, the buffers of the connection, and coveredBytes of what
	// its reply says.
	memoryEach   = 80 << 10
	coveredBytes = 8 << 10
	// What is larger than inlineBytes is read in slices, of which two are in
	// memory while it is sent.
	inlineBytes = 16 << 10
	slicesBytes = 192 << 10
	// largeBytes is from which size receipts are kept from taking all there is.
	largeBytes = 256 << 10

	// firstGrowth is what a reply takes at least where it needs more, and
	// growthFactor by how much it takes more where that is not enough.
	firstGrowth  = 256 << 10
	growthFactor = 4
	// longestGrowth bounds the wait of a reply for memory while Apple waits for
	// it to be read; half of the time that its request has left does so too.
	longestGrowth = 5 * time.Second
)

// memory is the budget of bytes that the receipts in hand share, over all queues.
//
// What a receipt holds before its reply comes is taken of one part, and what the
// reply leaves of another. Nobody waits who holds some of the second: a reply that
// needs more gets it at once, or is put off, and then takes as much before Apple is
// asked again. Therefore no two wait for each other.
type memory struct {
	fixed, large, grown                *semaphore.Weighted
	fixedBytes, largeBytes, grownBytes int64

	mu    sync.Mutex
	needs map[int64]int64 // of receipts that were put off, at most mostNeeds
}

// mostNeeds is how many receipts are remembered. One that is forgotten costs a call.
const mostNeeds = 1024

// newMemory divides a budget. Each part is first come, first served, so that a large
// receipt is not passed for ever; large ones get three quarters of the first at
// most, so that the others never wait for them all.
func newMemory(bytes int64) *memory {
	grown := bytes / 4
	fixed := bytes - grown
	m := &memory{fixedBytes: fixed, largeBytes: fixed / 4 * 3, grownBytes: grown, needs: make(map[int64]int64)}
	m.fixed, m.large, m.grown = semaphore.NewWeighted(m.fixedBytes), semaphore.NewWeighted(m.largeBytes), semaphore.NewWeighted(m.grownBytes)
	return m
}

// weight is what a receipt of a size takes before its reply comes.
func (m *memory) weight(size int64) int64 {
	return min(memoryEach+min(max(size-inlineBytes, 0), slicesBytes), m.largeBytes)
}

// room is what one receipt in hand holds of the budget, until its result is stored.
// It is not safe for concurrent use.
type room struct {
	*memory
	id, size    int64
	base, extra int64 // of the two parts
	isLarge     bool
	kept        int64 // what the reply was last told to hold
}

func (m *memory) room(r claim.Receipt) *room { return &room{memory: m, id: r.ID, size: r.ByteSize} }

// enter waits until there is memory to ask Apple about the receipt.
func (r *room) enter(ctx context.Context) error {
	n := r.weight(r.size)
	if r.size >= largeBytes {
		if err := take(ctx, r.large, n); err != nil {
			return err
		}
		r.isLarge = true
	}
	if err := take(ctx, r.fixed, n); err != nil {
		if r.isLarge {
			r.large.Release(n)
		}
		r.isLarge = false
		return err
	}
	r.base = n
	need := r.needed(r.id)
	if need == 0 {
		return nil
	}
	if err := take(ctx, r.grown, need); err != nil {
		r.remember(need)
		return err
	}
	r.extra = need
	return nil
}

// grow takes what a reply of so many bytes needs. It waits for the first of it, and
// no longer than the reply can wait.
func (r *room) grow(ctx context.Context, bytes int64) error {
	r.kept = bytes
	want := bytes - coveredBytes
	switch {
	case want <= r.extra:
		return nil
	case want > r.grownBytes:
		return errNeverRoom
	case r.extra == 0:
		n := min(max(want, firstGrowth, r.size), r.grownBytes)
		ctx, cancel := context.WithTimeout(ctx, patience(ctx))
		defer cancel()
		if take(ctx, r.grown, n) != nil {
			return errNoRoom
		}
		r.extra = n
		return nil
	}
	n := min(max(want, growthFactor*r.extra), r.grownBytes)
	if !r.grown.TryAcquire(n - r.extra) {
		return errNoRoom
	}
	r.extra = n
	return nil
}

// patience is how long a reply may wait to be read on.
func patience(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return longestGrowth
	}
	return min(longestGrowth, time.Until(deadline)/2)
}

// settle gives back what the reply took and did not need.
func (r *room) settle() {
	if spare := r.extra - max(r.kept-coveredBytes, 0); spare > 0 {
		r.grown.Release(spare)
		r.extra -= spare
	}
}

// leave gives everything back. It may come more than once.
func (r *room) leave() {
	r.grown.Release(r.extra)
	r.fixed.Release(r.base)
	if r.isLarge {
		r.large.Release(r.base)
	}
	r.base, r.extra, r.isLarge = 0, 0, false
}

// learn takes note of what a reply needs that found no room.
func (r *room) learn(err error) {
	var full interface {
		error
		RoomNeeded() int64
	}
	if errors.As(err, &full) && errors.Is(err, errNoRoom) {
		r.remember(min(full.RoomNeeded(), r.grownBytes))
	}
}

// remember has the receipt take so much before it is asked about again.
func (r *room) remember(need int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.needs {
		if len(r.needs) < mostNeeds {
			break
		}
		delete(r.needs, id)
	}
	r.needs[r.id] = need
}

// needed is what a receipt was put off for, once.
func (m *memory) needed(id int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	need := m.needs[id]
	delete(m.needs, id)
	return need
}

// take takes n, at once where there is no need to wait: also after ctx has ended.
func take(ctx context.Context, s *semaphore.Weighted, n int64) error {
	if s.TryAcquire(n) {
		return nil
	}
	return s.Acquire(ctx, n)
}

// enter waits until there is memory for a receipt, and no longer than the worker
// runs.
func (w *Worker) enter(ctx context.Context, r *room) error {
	waiting, cancel := w.untilStopped(ctx)
	defer cancel()
	err := r.enter(waiting)
	if err != nil && ctx.Err() != nil {
		return errNoRoom
	}
	return err
}
