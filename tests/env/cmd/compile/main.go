// Command compile builds programs of this repository into tests/.bin and shows, on one line, what is being compiled, how much is
// done, and the time left: compile PROGRAM... then PROGRAM... ahead PROGRAM... It imports the standard library alone, so that it
// runs seconds after a first checkout.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/upcommerce/backout/tests/env/programs"
)

// reminder is how often a line is printed where lines cannot be overwritten.
const reminder = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	plan, err := parse(os.Args[1:])
	if err == nil {
		l := line{terminal: isTerminal()}
		err = programs.Compile(ctx, plan, l.show)
		l.end()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compile:", err)
		stop()
		os.Exit(1)
	}
}

const usage = "usage: compile PROGRAM... [then PROGRAM...]... [ahead PROGRAM...]"

// parse reads a plan: rounds of programs with "then" between them, and after "ahead" those that are only begun.
func parse(args []string) (programs.Plan, error) {
	now, later, _ := strings.Cut(strings.Join(args, " "), " ahead ")
	ahead, err := programs.Named(strings.Fields(later)...)
	if err != nil {
		return programs.Plan{}, err
	}
	plan := programs.Plan{Ahead: ahead}
	for round := range strings.SplitSeq(now, " then ") {
		all, err := programs.Named(strings.Fields(round)...)
		if err != nil {
			return programs.Plan{}, err
		}
		if len(all) == 0 {
			return programs.Plan{}, errors.New(usage)
		}
		plan.Rounds = append(plan.Rounds, all)
	}
	return plan, nil
}

func isTerminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// line is the line that shows progress.
type line struct {
	terminal bool
	printed  time.Time
	width    int
}

func (l *line) show(w programs.Work) {
	if w.Packages == 0 && w.Took < time.Second { // nothing was to be compiled
		return
	}
	text := fmt.Sprintf("%5.0fs  %s", w.Took.Seconds(), w)
	if l.terminal {
		fmt.Fprintf(os.Stderr, "\r%s%s", text, strings.Repeat(" ", max(l.width-len(text), 0)))
		l.width = len(text)
		return
	}
	if l.printed.IsZero() || time.Since(l.printed) >= reminder {
		fmt.Fprintln(os.Stderr, text)
		l.printed = time.Now()
	}
}

func (l *line) end() {
	if l.terminal && l.width > 0 {
		fmt.Fprintln(os.Stderr)
	}
}
