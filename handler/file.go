package handler

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// watchedFile is the parsed content of a file, which is read again when it changes. It is
// safe for concurrent use.
//
// Kubernetes replaces mounted Secrets by swapping a symbolic link, so get checks the file
// to which the path leads each time.
type watchedFile[T any] struct {
	path  string
	parse func([]byte) (T, error)

	mu     sync.Mutex
	seen   fileVersion
	parsed T
}

// fileVersion distinguishes two contents of a file without reading it.
type fileVersion struct {
	modified time.Time
	size     int64
	file     os.FileInfo
}

// newWatchedFile reads the file once, so that a wrong one is found at the start.
func newWatchedFile[T any](path string, parse func([]byte) (T, error)) (*watchedFile[T], error) {
	f := &watchedFile[T]{path: path, parse: parse}
	_, err := f.get()
	return f, err
}

// get returns the parsed content. If the file can no longer be read or parsed, it returns
// the last content, together with the error.
func (f *watchedFile[T]) get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return f.parsed, fmt.Errorf("find %s: %w", f.path, err)
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
	f.seen = fileVersion{modified: info.ModTime(), size: info.Size(), file: info}
	return parsed, nil
}
