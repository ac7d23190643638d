package programs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Work is how far a compilation is.
type Work struct {
	// Programs are being built.
	Programs string
	// Done of Packages are compiled. Packages is 0 until they are counted.
	Done, Packages int
	// Share of the work is done, 0 to 1, by the size of the packages.
	Share float64
	// Took is the time since the beginning; Left is an estimate, 0 if the rest cannot be estimated yet.
	Took, Left time.Duration
}

// String is one line: what is being built, how much is done, and the time left.
func (w Work) String() string {
	switch {
	case w.Programs == "":
		return fmt.Sprintf("compiled %d packages", w.Done)
	case w.Packages == 0:
		return "compiling " + w.Programs + ": counting packages"
	case w.Left == 0:
		return fmt.Sprintf("compiling %s: %d of %d packages", w.Programs, w.Done, w.Packages)
	default:
		return fmt.Sprintf("compiling %s: %d of %d packages, %.0f%%, about %s left", w.Programs, w.Done, w.Packages, 100*w.Share, about(w.Left))
	}
}

// about rounds a duration so that its last digit does not flicker.
func about(d time.Duration) string {
	if d > time.Minute {
		return d.Round(10 * time.Second).String()
	}
	return max(d.Round(5*time.Second), 5*time.Second).String()
}

// Sizes that stand for work: a package takes as long as this many bytes of source before its first line, and a program, to be linked.
const (
	perPackage = 9_000
	perLink    = 1_500_000
)

// leastShare of the work has to be done before the rest can be estimated.
const leastShare = 0.05

// together is how many programs are built at a time. Each ends with packages that can only be compiled one after the other.
const together = 2

// Plan is what Compile builds.
type Plan struct {
	// Rounds are built one after the other, the programs of one round some at a time: they should share few packages that are not
	// compiled yet, because each build would compile them.
	Rounds [][]Binary
	// Ahead are begun when a processor is idle in the last round, and interrupted at its end: what is compiled stays compiled.
	Ahead []Binary
}

// Compile builds the programs of a plan, and calls show once a second, and at the end. It stops at the first error.
func Compile(ctx context.Context, plan Plan, show func(Work)) error {
	c := &compilation{begun: time.Now(), sizes: map[string]int64{}, compiled: map[string]bool{}}
	counting, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	background.Go(func() { c.count(counting, slices.Concat(plan.Rounds...)) })
	background.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-counting.Done():
				return
			case <-tick.C:
				show(c.work())
			}
		}
	})
	for i, round := range plan.Rounds {
		var ahead []Binary
		if i == len(plan.Rounds)-1 {
			ahead = plan.Ahead
		}
		if err := c.round(ctx, round, ahead); err != nil {
			return err
		}
	}
	stop()
	background.Wait()
	show(c.work())
	return nil
}

// round builds programs, some of them at the same time.
func (c *compilation) round(ctx context.Context, all, ahead []Binary) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle, interrupt := context.WithCancel(ctx)
	queue := make(chan Binary, len(all))
	for _, b := range all {
		queue <- b
	}
	close(queue)
	var building, filling sync.WaitGroup
	var once sync.Once
	for range together {
		building.Go(func() {
			for b := range queue {
				if ctx.Err() != nil {
					return
				}
				if err := c.build(ctx, b); err != nil {
					cancel(err)
				}
			}
			once.Do(func() {
				filling.Go(func() {
					for _, b := range ahead {
						_ = c.build(idle, b) // it is built again when it is needed
					}
				})
			})
		})
	}
	building.Wait()
	interrupt()
	filling.Wait()
	return context.Cause(ctx)
}

// compilation is the state of one Compile.
type compilation struct {
	begun time.Time

	mu       sync.Mutex
	building []string         // programs
	sizes    map[string]int64 // of the packages that were not compiled when they were counted
	total    int64
	counted  bool
	compiled map[string]bool
	linked   int64 // programs
}

// build builds one program, and notes each package that the go command begins to compile.
func (c *compilation) build(ctx context.Context, b Binary) error {
	path, unlock, err := b.place(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	c.begin(b)
	defer c.end(b)
	cmd := b.command(ctx, path, "-v")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // the go command waits for its compilers
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("build %s: %w", b.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("build %s: %w", b.Name, err)
	}
	var other bytes.Buffer
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if line := lines.Text(); strings.ContainsAny(line, " \t#") {
			fmt.Fprintln(&other, line) // a package has neither
		} else {
			c.compile(line)
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", b.Name, b.Module, errors.Join(ctx.Err(), err), other.Bytes())
	}
	return nil
}

func (c *compilation) begin(b Binary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.building = append(c.building, b.Name)
}

func (c *compilation) end(b Binary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.building = slices.DeleteFunc(c.building, func(name string) bool { return name == b.Name })
	c.linked++
}

func (c *compilation) compile(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compiled[name] = true
}

// count finds the packages that are not in the go command's cache. Without it there is no estimate; nothing else needs it.
func (c *compilation) count(ctx context.Context, all []Binary) {
	root, err := Repository()
	if err != nil {
		return
	}
	type group struct{ module, tags string }
	groups := map[group][]string{}
	for _, b := range all {
		g := group{b.Module, b.Tags}
		groups[g] = append(groups[g], b.Package)
	}
	for g, packages := range groups {
		args := append([]string{"list", "-deps", "-tags", g.tags, "-f", `{{if .Stale}}{{.ImportPath}} {{.Dir}} {{join .GoFiles "/"}}{{end}}`}, packages...)
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = filepath.Join(root, g.module), environment()
		list, err := cmd.Output()
		if err != nil {
			return
		}
		c.add(string(list))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total += int64(len(all)) * perLink
	c.counted = true
}

// add adds packages from go list: import path, directory and files.
func (c *compilation) add(list string) {
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		size := int64(perPackage)
		for file := range strings.SplitSeq(fields[2], "/") {
			if info, err := os.Stat(filepath.Join(fields[1], file)); err == nil {
				size += info.Size()
			}
		}
		c.mu.Lock()
		if _, known := c.sizes[fields[0]]; !known {
			c.sizes[fields[0]] = size
			c.total += size
		}
		c.mu.Unlock()
	}
}

func (c *compilation) work() Work {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := Work{Programs: strings.Join(c.building, " and "), Took: time.Since(c.begun)}
	if !c.counted {
		return w
	}
	done := c.linked * perLink
	for name := range c.compiled {
		done += c.sizes[name]
	}
	w.Done, w.Packages = len(c.compiled), max(len(c.sizes), len(c.compiled))
	w.Share = min(float64(done)/float64(max(c.total, 1)), 1)
	if w.Share > leastShare {
		w.Left = time.Duration(float64(w.Took) * (1 - w.Share) / w.Share)
	}
	return w
}
