// Package cell starts programs in a network and a file tree of their own, as a container runtime does. A cell consists of
// namespaces: it needs only the rights that the process has in its user namespace, and ends with its last process.
//
// A cell has no process namespace, no users, and no limits of CPU and memory. A program in it sees /proc, /sys and /dev as the
// caller does, and a SIGTERM that it does not handle ends it.
package cell

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// onOwnThread runs f on a thread that f may move to other namespaces. The thread ends with f: Go never runs anything else on
// it, because it is never unlocked.
func onOwnThread[T any](f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	results := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		value, err := f()
		results <- result{value, err}
	}()
	r := <-results
	return r.value, r.err
}

// openNamespace opens a namespace of the calling thread, "net" or "mnt", for enter. The namespace exists as long as the file is
// open.
func openNamespace(kind string) (*os.File, error) {
	f, err := os.Open("/proc/thread-self/ns/" + kind)
	if err != nil {
		return nil, fmt.Errorf("open the %s namespace: %w", kind, err)
	}
	return f, nil
}

// enter moves the calling thread into a namespace.
func enter(namespace *os.File, kind int) error {
	if err := unix.Setns(int(namespace.Fd()), kind); err != nil {
		return fmt.Errorf("enter a namespace: %w", err)
	}
	return nil
}
