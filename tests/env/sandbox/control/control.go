// Package control is the protocol between a sandbox and the program that opened it: one request per connection on a unix
// socket, a line of JSON each way, then the stream or the exit that the request leads to. A unix socket is a file, which can be
// reached from another network namespace; an address cannot.
package control

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
)

// Request is the first line of a connection. Exactly one field is set.
type Request struct {
	// Dial requests a connection to this TCP address inside; after the Reply both connections are one stream.
	Dial string `json:"dial,omitempty"`
	// Run requests the start of a program inside; after the Reply the connection waits for its Exit.
	Run *Program `json:"run,omitempty"`
	// Signal requests a signal to a program that Run started.
	Signal *Signal `json:"signal,omitempty"`
	// Kill requests the end of all programs that Run started.
	Kill bool `json:"kill,omitempty"`
}

// Program is a program to start inside. Its standard output and error are appended to the file Log.
type Program struct {
	Path string   `json:"path"`
	Args []string `json:"args"`
	// Env is the whole environment.
	Env []string `json:"env"`
	Dir string   `json:"dir"`
	Log string   `json:"log"`
}

// Signal is a signal number for the program with this ID.
type Signal struct {
	ID     int `json:"id"`
	Number int `json:"number"`
}

// Reply answers a Request. ID is the program's, for Run.
type Reply struct {
	ID    int    `json:"id,omitempty"`
	Error string `json:"error,omitempty"`
}

// Exit is how a program ended: with a code, or by a signal, as its description and its number.
type Exit struct {
	Code   int    `json:"code"`
	Signal string `json:"signal,omitempty"`
	Number int    `json:"number,omitempty"`
}

// Stage is a stage of a sandbox's start, for display.
type Stage string

// The stages, in their order. In the last, StageControllers, the control plane runs, and its controllers catch up.
const (
	StageNetwork     Stage = "network"
	StageEtcd        Stage = "etcd"
	StageAPIServer   Stage = "API server"
	StageControllers Stage = "controllers and scheduler"
)

// Report is a line that the inner program writes to its standard output while it starts: the stage that begins, or why it gives
// up.
type Report struct {
	Stage Stage  `json:"stage,omitempty"`
	Error string `json:"error,omitempty"`
	// Refused says that Error is the kernel's refusal of namespaces.
	Refused bool `json:"refused,omitempty"`
}

// line is a connection whose lines are read through a buffer. Later reads use the same buffer.
type line struct {
	net.Conn
	buffered *bufio.Reader
}

func newLine(c net.Conn) *line { return &line{Conn: c, buffered: bufio.NewReader(c)} }

// Read returns the content of the buffer first.
func (l *line) Read(p []byte) (int, error) { return l.buffered.Read(p) }

// CloseWrite closes the writing half, as TCP and unix connections can.
func (l *line) CloseWrite() error { return closeWrite(l.Conn) }

func (l *line) send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %T: %w", v, err)
	}
	if _, err := l.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("send %T: %w", v, err)
	}
	return nil
}

func (l *line) receive(v any) error {
	b, err := l.buffered.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("receive %T: %w", v, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	return nil
}

// Splice copies both ways until both directions have ended or one has failed, and closes both connections.
func Splice(a, b net.Conn) {
	whole := make(chan bool, 2)
	relay := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if err == nil {
			err = closeWrite(to)
		}
		whole <- err == nil
	}
	go relay(a, b)
	go relay(b, a)
	if <-whole {
		<-whole
	}
	_ = a.Close()
	_ = b.Close()
}

func closeWrite(c net.Conn) error {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return c.Close()
	}
	return half.CloseWrite()
}
