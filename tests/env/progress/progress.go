// Package progress shows on a terminal what a program is waiting for.
package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// reminder is how often a long stage is shown again, so that it does not look like a hang.
const reminder = 10 * time.Second

// Progress shows stages, each with the time since the start.
type Progress struct {
	out     io.Writer
	started time.Time

	mu    sync.Mutex
	timer *time.Timer // runs while there is a stage
}

// New returns a progress that prints to out and counts from now.
func New(out io.Writer) *Progress { return &Progress{out: out, started: time.Now()} }

// Begin shows a stage, and shows it again as long as it lasts.
func (p *Progress) Begin(stage string) { p.Follow(func() string { return stage }) }

// Follow shows a stage whose text changes: it calls stage each time.
func (p *Progress) Follow(stage func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(stage)
}

// show prints with the lock held.
func (p *Progress) show(stage func() string) {
	if p.timer != nil {
		p.timer.Stop()
	}
	fmt.Fprintf(p.out, "%6.1fs  %s\n", time.Since(p.started).Seconds(), stage())
	var timer *time.Timer
	timer = time.AfterFunc(reminder, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.timer == timer {
			p.show(stage)
		}
	})
	p.timer = timer
}

// End shows the total time, once.
func (p *Progress) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return
	}
	p.timer.Stop()
	p.timer = nil
	fmt.Fprintf(p.out, "%6.1fs  done\n", time.Since(p.started).Seconds())
}
