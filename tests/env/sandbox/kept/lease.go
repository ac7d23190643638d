package kept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Lease is the right to use a kept sandbox. Each side has an end of it.
type Lease struct {
	conn net.Conn
	done chan struct{}
}

func newLease(conn net.Conn) *Lease {
	l := &Lease{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		_, _ = io.Copy(io.Discard, conn) // neither side writes: this is the wait for the end
	}()
	return l
}

// Done is closed when either side has closed the lease or has died.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Close ends the lease. Later calls do nothing.
func (l *Lease) Close() { _ = l.conn.Close() }

// Take takes the offer for the test of that name, unless fits returns an error. The error says why the test has no lease.
func (p Place) Take(ctx context.Context, test string, fits func(Offer) error) (Offer, *Lease, error) {
	o, err := p.Read()
	if err == nil {
		err = fits(o)
	}
	if err != nil {
		return Offer{}, nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", o.socket())
	if err != nil {
		return Offer{}, nil, fmt.Errorf("another test has it, or make sandbox was killed: %w", err)
	}
	if err := greet(conn, test); err != nil {
		_ = conn.Close()
		return Offer{}, nil, fmt.Errorf("another test has it: %w", err)
	}
	return o, newLease(conn), nil
}

// greet sends the name of the test. An error means that the keeper did not grant the lease.
func greet(conn net.Conn, test string) error {
	if err := conn.SetDeadline(time.Now().Add(greeting)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, test+"\n"); err != nil {
		return err
	}
	answer := make([]byte, len(granted))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if string(answer) != granted {
		return errors.New("make sandbox answers with something else: end it and start it again")
	}
	return conn.SetDeadline(time.Time{})
}
