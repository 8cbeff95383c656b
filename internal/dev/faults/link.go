package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Link is the connection from one kind of program to one server: a proxy that
// passes bytes on, and spoils that when it is told to.
type Link struct {
	Name     string
	address  string // where the programs connect
	upstream string // the server

	mu       sync.Mutex
	listener net.Listener // nil while the link is cut
	wires    map[*wire]struct{}
	trouble  *Trouble      // nil while all is well
	changed  chan struct{} // closed when trouble changes
	running  sync.WaitGroup
}

// newLink opens a link to an upstream address on a free port of this machine.
func newLink(name, upstream string) (*Link, error) {
	l := &Link{Name: name, address: "127.0.0.1:0", upstream: upstream, wires: make(map[*wire]struct{}), changed: make(chan struct{})}
	if err := l.listen(); err != nil {
		return nil, fmt.Errorf("open the link %s: %w", name, err)
	}
	return l, nil
}

// through is a URL with the link in place of its address.
func (l *Link) through(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err) // the upstream of the link was read from it
	}
	u.Host = l.address
	return u.String()
}

// listen takes connections, where it does not yet.
func (l *Link) listen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp4", l.address)
	if err != nil {
		return err
	}
	l.listener, l.address = listener, listener.Addr().String()
	l.running.Go(func() { l.accept(listener) })
	return nil
}

func (l *Link) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // The link was cut.
		}
		l.running.Go(func() { l.connect(listener, client.(*net.TCPConn)) })
	}
}

// connect serves one connection until it ends.
func (l *Link) connect(listener net.Listener, client *net.TCPConn) {
	server, err := net.Dial("tcp", l.upstream)
	if err != nil {
		_ = client.Close()
		return
	}
	w := &wire{link: l, client: client, server: server.(*net.TCPConn), done: make(chan struct{})}
	l.mu.Lock()
	open := l.listener == listener
	if open {
		l.wires[w] = struct{}{}
	}
	l.mu.Unlock()
	if !open {
		w.close()
		return
	}
	w.run()
	l.mu.Lock()
	delete(l.wires, w)
	l.mu.Unlock()
}

// Cut refuses connections and ends those that there are.
func (l *Link) Cut() {
	l.mu.Lock()
	listener := l.listener
	l.listener = nil
	wires := slices.Collect(maps.Keys(l.wires))
	l.mu.Unlock()
	if listener != nil {
		_ = listener.Close()
	}
	for _, w := range wires {
		w.close()
	}
	l.running.Wait()
}

// Mend takes connections again, with nothing in their way. Those that lost bytes
// end, as their two sides would wait for each other.
func (l *Link) Mend(context.Context) error {
	l.put(nil)
	l.mu.Lock()
	wires := slices.Collect(maps.Keys(l.wires))
	l.mu.Unlock()
	for _, w := range wires {
		if w.damaged.Load() {
			w.close()
		}
	}
	if err := l.listen(); err != nil {
		return fmt.Errorf("mend %s: %w", l.Name, err)
	}
	return nil
}

func (l *Link) put(t *Trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble = t
	close(l.changed)
	l.changed = make(chan struct{})
}

// current is the trouble, and a channel that is closed when there is another.
func (l *Link) current() (*Trouble, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble, l.changed
}

// Trouble spoils what the server sends. One of its fields is set, jitter aside.
type Trouble struct {
	swallow       bool
	reset         bool
	delay, jitter time.Duration
	rate          int // bytes per second
	limit         int // bytes
}

// swallow takes everything in and lets nothing through, as a broken firewall.
func swallow() Trouble { return Trouble{swallow: true} }

// delay holds bytes up for d, and up to jitter more or less.
func delay(d, jitter time.Duration) Trouble { return Trouble{delay: d, jitter: jitter} }

// resetting ends each connection with a reset as soon as the server sends.
func resetting() Trouble { return Trouble{reset: true} }

func throttle(kilobytes int) Trouble { return Trouble{rate: kilobytes << 10} }

// cutAfter ends each connection after so many bytes from the server.
func cutAfter(size int) Trouble { return Trouble{limit: size} }

// Add puts trouble on the link, for connections that there are too.
func (l *Link) Add(t Trouble) { l.put(&t) }

// Suffer has trouble on the link for a while.
func (l *Link) Suffer(ctx context.Context, t Trouble, d time.Duration) error {
	l.Add(t)
	return errors.Join(hold(ctx, d), l.Mend(ctx))
}
