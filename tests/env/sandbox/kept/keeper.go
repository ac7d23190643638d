package kept

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// greeting bounds the lines that both sides exchange before the lease begins.
const greeting = 10 * time.Second

// granted is the keeper's answer to the test that gets the sandbox. The others see the end of their connection.
const granted = "yours\n"

// Lock makes the place this process's own until unlock is called or the process dies. If another process has it, the error says how
// to end that one.
func (p Place) Lock() (unlock func(), err error) {
	if err := os.MkdirAll(string(p), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory for offers: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(string(p), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of make sandbox: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(f)
		_ = f.Close()
		return nil, fmt.Errorf("make sandbox runs already: use that one, or end it with Ctrl-C or kill %s", holder)
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), p.withdraw()) // the offer of a keeper that was killed
	}
	if err == nil {
		_, err = fmt.Fprint(f, os.Getpid())
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock the directory for offers: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// Lend offers a sandbox, calls offered, and returns the lease of the first test that takes it, with the test's name. From then on,
// and after an error, the offer is withdrawn. The caller holds the Lock.
func (p Place) Lend(ctx context.Context, o Offer, offered func()) (test string, lease *Lease, err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", o.socket())
	if err != nil {
		return "", nil, fmt.Errorf("offer a sandbox: %w", err)
	}
	// Taken or not, no second test can connect after the return.
	defer func() { err = errors.Join(err, p.withdraw()) }()
	defer func() { _ = l.Close() }()
	if err := p.write(o); err != nil {
		return "", nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	offered()
	for {
		conn, err := l.Accept()
		if err != nil {
			return "", nil, fmt.Errorf("offer a sandbox: %w", cmp.Or(context.Cause(ctx), err))
		}
		if test, err := grant(conn); err == nil {
			return test, newLease(conn), nil
		}
		_ = conn.Close() // it got no answer, so that the sandbox is still as new
	}
}

// grant reads the name of the test and answers it. An error means that the test has no lease.
func grant(conn net.Conn) (test string, err error) {
	if err := conn.SetDeadline(time.Now().Add(greeting)); err != nil {
		return "", err
	}
	if test, err = bufio.NewReader(conn).ReadString('\n'); err != nil {
		return "", err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return "", err
	}
	_, err = io.WriteString(conn, granted)
	return strings.TrimSpace(test), err
}
