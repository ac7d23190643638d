package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tailLines is how many lines of a log are shown after an error.
const tailLines = 30

// Start opens a sandbox for a test, which fails if that is impossible. The sandbox is closed when the test ends; if the test has
// failed, it logs the ends of all logs first.
func Start(t testing.TB) *Sandbox {
	t.Helper()
	return StartWith(t, Options{})
}

// StartWith is Start with Options. A nil Progress is the test's log.
func StartWith(t testing.TB, o Options) *Sandbox {
	t.Helper()
	if o.Progress == nil {
		o.Progress = func(stage string) { t.Log("sandbox:", stage) }
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.logTails(t)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close the sandbox: %v", err)
		}
	})
	return s
}

func (s *Sandbox) logTails(t testing.TB) {
	t.Helper()
	t.Logf("control plane:%s", quoteTail(s.layout.ControlPlaneLog()))
	containers, _ := filepath.Glob(filepath.Join(s.layout.PodLogs(), "*", "*.log"))
	for _, log := range containers {
		t.Logf("%s:%s", strings.TrimPrefix(log, s.layout.PodLogs()+"/"), quoteTail(log))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.children {
		t.Logf("%s:%s", c.name, quoteTail(c.log))
	}
}

// quoteTail returns the end of a log file, indented, on lines of its own; "" if the file is missing or empty.
func quoteTail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	head := "\n  the log"
	if n := len(lines) - tailLines; n > 0 {
		lines = lines[n:]
		head = fmt.Sprintf("\n  the last %d lines of the log", tailLines)
	}
	return head + ":\n    " + string(bytes.Join(lines, []byte("\n    ")))
}
