package control

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Client talks to the sandbox behind a socket. It holds no connection between calls and may be used concurrently.
type Client struct {
	// Socket is the path of the sandbox's unix socket.
	Socket string
}

// Dial connects to a TCP address inside the sandbox. The connection has deadlines and half-close, as TCP has.
func (c Client) Dial(ctx context.Context, address string) (net.Conn, error) {
	l, _, err := c.send(ctx, Request{Dial: address})
	if err != nil {
		return nil, fmt.Errorf("dial %s inside the sandbox: %w", address, err)
	}
	return l, nil
}

// Run starts a program inside and returns its ID. The channel yields its exit, or is closed without one if the sandbox ends
// first. ctx bounds the start, not the program.
func (c Client) Run(ctx context.Context, p Program) (id int, exit <-chan Exit, err error) {
	l, reply, err := c.send(ctx, Request{Run: &p})
	if err != nil {
		return 0, nil, fmt.Errorf("start %s inside the sandbox: %w", p.Path, err)
	}
	exits := make(chan Exit, 1)
	go func() {
		defer close(exits)
		defer func() { _ = l.Close() }()
		var e Exit
		if l.receive(&e) == nil {
			exits <- e
		}
	}()
	return reply.ID, exits, nil
}

// Signal sends a signal to a program that Run started. It returns an error if the program has ended.
func (c Client) Signal(ctx context.Context, s Signal) error {
	l, _, err := c.send(ctx, Request{Signal: &s})
	if err != nil {
		return fmt.Errorf("signal a program inside the sandbox: %w", err)
	}
	return l.Close()
}

// Kill kills all programs that Run started, of this client and of others. Pods go on.
func (c Client) Kill(ctx context.Context) error {
	l, _, err := c.send(ctx, Request{Kill: true})
	if err != nil {
		return fmt.Errorf("end the programs inside the sandbox: %w", err)
	}
	return l.Close()
}

// send sends a request and returns the connection after a reply without an error.
func (c Client) send(ctx context.Context, r Request) (*line, Reply, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return nil, Reply{}, fmt.Errorf("reach the sandbox: %w", err)
	}
	// If ctx ends before the reply, the connection is closed.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	l := newLine(conn)
	var reply Reply
	err = l.send(r)
	if err == nil {
		err = l.receive(&reply)
	}
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	if err != nil {
		_ = conn.Close()
		return nil, Reply{}, err
	}
	return l, reply, nil
}
