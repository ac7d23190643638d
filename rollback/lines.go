package rollback

import (
	"sync"
	"time"
)

// Bounds of the log lines that other clients can cause.
const (
	// maxLines is how many lines are logged in each linesWindow.
	maxLines    = 20
	linesWindow = 10 * time.Second
	// maxLineSources bounds the sources of LineLimits.
	maxLineSources = 1000
)

// LineLimit bounds log lines: of a flood of them, the first ones are logged, and how many
// more there were. It is safe for concurrent use; its zero value is ready.
type LineLimit struct {
	mu sync.Mutex
	// began is when the window began in which so many lines were logged and left out.
	began         time.Time
	logged, other int
}

// Count counts a line, and reports whether it is logged. The second result is how many were
// not logged in the window that has just ended.
func (l *LineLimit) Count(now time.Time) (say bool, others int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.began) >= linesWindow {
		others = l.other
		l.began, l.logged, l.other = now, 0, 0
	}
	if l.logged == maxLines {
		l.other++
		return false, others
	}
	l.logged++
	return true, others
}

// LineSource is who causes lines, and why.
type LineSource struct{ Sender, Reason string }

// LineLimits is a LineLimit for each source, so that the lines about one leave out those about
// no other. Beyond 1,000 sources, all further ones are one. It is safe for concurrent use; its
// zero value is ready.
type LineLimits struct {
	mu     sync.Mutex
	limits map[LineSource]*LineLimit
}

// Of returns the limit of a source.
func (l *LineLimits) Of(s LineSource) *LineLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits == nil {
		l.limits = make(map[LineSource]*LineLimit)
	}
	if _, known := l.limits[s]; !known && len(l.limits) >= maxLineSources {
		s = LineSource{}
	}
	if l.limits[s] == nil {
		l.limits[s] = new(LineLimit)
	}
	return l.limits[s]
}
