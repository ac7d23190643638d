package control

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Supervisor starts and signals programs on behalf of a Server.
type Supervisor interface {
	// Start returns the new program's ID and a channel that yields its exit once.
	Start(Program) (id int, exit <-chan Exit, err error)
	// Signal returns an error if the program has ended or does not exist.
	Signal(Signal) error
	// Kill kills all programs that Start started.
	Kill() error
}

// Server answers requests inside a sandbox.
type Server struct {
	Supervisor Supervisor
}

// Serve answers connections until the listener is closed.
func (s Server) Serve(ctx context.Context, l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept a control connection: %w", err)
		}
		go s.answer(ctx, newLine(conn))
	}
}

// answer serves one connection until its end. A peer that sends an invalid request loses only its own connection.
func (s Server) answer(ctx context.Context, l *line) {
	defer func() { _ = l.Close() }()
	var r Request
	if l.receive(&r) != nil {
		return
	}
	switch {
	case r.Dial != "":
		s.dial(ctx, l, r.Dial)
	case r.Run != nil:
		s.run(ctx, l, *r.Run)
	case r.Signal != nil:
		_ = l.send(Reply{Error: text(s.Supervisor.Signal(*r.Signal))})
	case r.Kill:
		_ = l.send(Reply{Error: text(s.Supervisor.Kill())})
	default:
		_ = l.send(Reply{Error: "an empty request"})
	}
}

func (s Server) dial(ctx context.Context, l *line, address string) {
	var d net.Dialer
	inner, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		_ = l.send(Reply{Error: err.Error()})
		return
	}
	if l.send(Reply{}) != nil {
		_ = inner.Close()
		return
	}
	Splice(l, inner)
}

func (s Server) run(ctx context.Context, l *line, p Program) {
	id, exit, err := s.Supervisor.Start(p)
	if l.send(Reply{ID: id, Error: text(err)}) != nil || err != nil {
		return
	}
	select {
	case e := <-exit:
		_ = l.send(e)
	case <-ctx.Done():
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
