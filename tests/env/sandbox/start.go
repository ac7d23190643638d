package sandbox

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/upcommerce/backout/tests/env/sandbox/kept"
)

// tailLines is how many lines of a log are shown after an error.
const tailLines = 30

// Start opens a sandbox for a test, which fails if that is impossible. The sandbox is closed when the test ends; if the test has
// failed, it logs the ends of all logs first. If the environment names the place of a kept sandbox (kept.Environment), and one that
// fits is ready there, the test gets that one. It is as new as any other, and stays open for a while after the test.
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
	s, err := takeOrOpen(t, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.logTails(t)
		}
		s.logInspection(t)
		if err := s.Close(); err != nil {
			t.Errorf("close the sandbox: %v", err)
		}
	})
	return s
}

// takeOrOpen takes the kept sandbox if the options or the environment name its place, and opens one if that is impossible.
func takeOrOpen(t testing.TB, o Options) (*Sandbox, error) {
	t.Helper()
	o.Kept = cmp.Or(o.Kept, kept.Place(os.Getenv(kept.Environment)))
	if o.Kept == "" {
		return Open(t.Context(), o)
	}
	s, err := Take(t.Context(), t.Name(), o)
	if err == nil {
		t.Log(kept.Mark + kept.Used)
		return s, nil
	}
	t.Log(kept.Mark + "not used: " + err.Error())
	return Open(t.Context(), o)
}

// logInspection logs how to look at a kept sandbox that outlives the test.
func (s *Sandbox) logInspection(t testing.TB) {
	t.Helper()
	select {
	case <-s.Done():
	default:
		if s.lease != nil {
			t.Log(s.Inspection())
		}
	}
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
