package faults

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire is one connection through a link.
type wire struct {
	link           *Link
	client, server *net.TCPConn
	done           chan struct{} // closed when it ends
	once           sync.Once
	damaged        atomic.Bool // bytes are missing from it
}

// run passes bytes both ways until one side ends the connection.
func (w *wire) run() {
	var both sync.WaitGroup
	both.Go(func() {
		w.carry(w.client, func(c chunk) error {
			_, err := w.server.Write(c.bytes)
			return err
		})
	})
	both.Go(func() { w.carry(w.server, (&answers{wire: w}).pass) })
	both.Wait()
}

func (w *wire) close() {
	w.once.Do(func() {
		close(w.done)
		_ = w.client.Close()
		_ = w.server.Close()
	})
}

// reset ends the connection as a router does that forgot it.
func (w *wire) reset() {
	_ = w.client.SetLinger(0)
	_ = w.server.SetLinger(0)
	w.close()
}

const (
	chunkSize = 16 << 10
	// queueLength is how many chunks may be on their way, while they are held up.
	queueLength = 64
	// resetAfter is the time between the first byte and the reset.
	resetAfter = 50 * time.Millisecond
	// throttleEvery is how often a throttled wire passes something on.
	throttleEvery = 100 * time.Millisecond
)

// chunk is what was read at a moment.
type chunk struct {
	bytes []byte
	at    time.Time
}

// carry passes bytes on in one direction. What was read before the end still
// passes.
func (w *wire) carry(from *net.TCPConn, pass func(chunk) error) {
	chunks := make(chan chunk, queueLength)
	var reader sync.WaitGroup
	reader.Go(func() { w.read(from, chunks) })
	defer reader.Wait()
	defer w.close()
	for c := range chunks {
		if err := pass(c); err != nil {
			return
		}
	}
}

func (w *wire) read(from *net.TCPConn, chunks chan<- chunk) {
	defer close(chunks)
	for {
		buffer := make([]byte, chunkSize)
		n, err := from.Read(buffer)
		if n > 0 {
			select {
			case chunks <- chunk{buffer[:n], time.Now()}:
			case <-w.done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// answers is what the server sends.
type answers struct {
	*wire
	trouble *Trouble // in force at the last chunk
	passed  int      // bytes since it is in force
}

// errEnded is that the connection ended, or has to.
var errEnded = errors.New("the connection ended")

// pass passes a chunk on, as the trouble of the moment has it.
func (a *answers) pass(c chunk) error {
	for len(c.bytes) > 0 {
		trouble, changed := a.link.current()
		if trouble != a.trouble {
			a.trouble, a.passed = trouble, 0
		}
		if trouble != nil && trouble.swallow {
			a.damaged.Store(true)
			return nil
		}
		n, wait := a.next(c)
		if wait > 0 && !a.wait(wait, changed) {
			continue // another trouble has other rules
		}
		if trouble != nil && trouble.reset {
			a.reset()
			return errEnded
		}
		if _, err := a.client.Write(c.bytes[:n]); err != nil {
			return err
		}
		c.bytes = c.bytes[n:]
		a.passed += n
		if trouble != nil && trouble.limit > 0 && a.passed >= trouble.limit {
			return errEnded
		}
	}
	return nil
}

// next is how many bytes of a chunk pass at once, and after what time.
func (a *answers) next(c chunk) (n int, wait time.Duration) {
	t := a.trouble
	switch {
	case t == nil:
	case t.reset:
		return len(c.bytes), resetAfter
	case t.limit > 0:
		return min(len(c.bytes), t.limit-a.passed), 0
	case t.rate > 0:
		n = min(len(c.bytes), max(1, int(float64(t.rate)*throttleEvery.Seconds())))
		return n, time.Duration(float64(n) / float64(t.rate) * float64(time.Second))
	case t.delay > 0:
		late := t.delay
		if t.jitter > 0 {
			late += rand.N(2*t.jitter) - t.jitter
		}
		return len(c.bytes), time.Until(c.at.Add(late))
	}
	return len(c.bytes), 0
}

// wait reports whether the time has passed. It ends early, with false, when the
// trouble changes or the connection ends.
func (a *answers) wait(d time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-changed:
		return false
	case <-a.done:
		return true // and the write fails
	}
}
