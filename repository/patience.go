package repository

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// defaultPatience is long enough for a statement over every row.
const defaultPatience = time.Hour

// patientDialer makes connections on which every wait for Postgres has an end: a
// server that is gone without a word is noticed in half a minute, and one that
// hangs when patience is over. A context alone does not do that, because lib/pq
// then asks the server itself to give up, and waits for its answer.
type patientDialer struct{ patience time.Duration }

// Dial, DialTimeout and DialContext implement pq.Dialer and pq.DialerContext.
func (d patientDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d patientDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func (d patientDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4},
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &patientConn{Conn: conn, patience: d.patience}, nil
}

// patientConn gives every read and write a deadline of its own, unless an
// earlier one is set for the connection.
type patientConn struct {
	net.Conn
	patience time.Duration
	deadline atomic.Int64 // UNIX nanoseconds; 0 is none
}

// SetDeadline sets a deadline for the connection, as lib/pq does while it
// connects; the zero time takes it away.
func (c *patientConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.deadline.Store(0)
	} else {
		c.deadline.Store(t.UnixNano())
	}
	return c.Conn.SetDeadline(t)
}

func (c *patientConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(c.end()); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *patientConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(c.end()); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// end is when a read or write that begins now has to be over.
func (c *patientConn) end() time.Time {
	end := time.Now().Add(c.patience)
	if at := c.deadline.Load(); at != 0 && at < end.UnixNano() {
		return time.Unix(0, at)
	}
	return end
}
