package handler

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// secretFile is the content of a file, read again when it changes. It is safe
// for concurrent use.
//
// Kubernetes replaces mounted Secrets by swapping a symbolic link, so the file
// that the path leads to is looked at anew each time.
type secretFile[T any] struct {
	path  string
	parse func([]byte) (T, error)

	mu     sync.Mutex
	seen   state
	parsed T
}

type state struct {
	modified time.Time
	size     int64
	file     os.FileInfo
}

// newSecretFile reads the file once, so that a bad one is found at the start.
func newSecretFile[T any](path string, parse func([]byte) (T, error)) (*secretFile[T], error) {
	f := &secretFile[T]{path: path, parse: parse}
	_, err := f.get()
	return f, err
}

// get returns the parsed content. If the file cannot be read or parsed any more,
// it returns what it held before, together with the error.
func (f *secretFile[T]) get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return f.parsed, fmt.Errorf("look at %s: %w", f.path, err)
	}
	if f.seen.file != nil && os.SameFile(info, f.seen.file) && info.ModTime().Equal(f.seen.modified) && info.Size() == f.seen.size {
		return f.parsed, nil
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return f.parsed, fmt.Errorf("read %s: %w", f.path, err)
	}
	parsed, err := f.parse(text)
	if err != nil {
		return f.parsed, fmt.Errorf("read %s: %w", f.path, err)
	}
	f.parsed = parsed
	f.seen = state{modified: info.ModTime(), size: info.Size(), file: info}
	return parsed, nil
}
