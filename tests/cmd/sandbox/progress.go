package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// reminder is how often a stage that takes long is shown again, so that nobody takes it for a hang.
const reminder = 10 * time.Second

// progress shows a person what is being waited for, and since when.
type progress struct {
	out     io.Writer
	started time.Time

	mu    sync.Mutex
	timer *time.Timer // runs while there is a stage
}

func newProgress(out io.Writer) *progress { return &progress{out: out, started: time.Now()} }

// begin shows a stage, and shows it again while it lasts.
func (p *progress) begin(stage string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show(stage)
}

// show prints with the lock held.
func (p *progress) show(stage string) {
	if p.timer != nil {
		p.timer.Stop()
	}
	fmt.Fprintf(p.out, "%6.1fs  %s\n", time.Since(p.started).Seconds(), stage)
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

// end shows the time that everything took, once.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return
	}
	p.timer.Stop()
	p.timer = nil
	fmt.Fprintf(p.out, "%6.1fs  done\n", time.Since(p.started).Seconds())
}
