// Command compile builds programs of this repository into tests/.bin and shows, on one line, what is being compiled, how much is
// done, and the time left: compile PROGRAM... then PROGRAM... It imports the standard library alone, so that it runs seconds after a first checkout.
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
	rounds, err := parse(os.Args[1:])
	if err == nil {
		l := line{terminal: isTerminal()}
		err = programs.Compile(ctx, rounds, l.show)
		l.end()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compile:", err)
		stop()
		os.Exit(1)
	}
}

// parse reads rounds of programs, with "then" between them.
func parse(args []string) ([][]programs.Binary, error) {
	var rounds [][]programs.Binary
	for round := range strings.SplitSeq(strings.Join(args, " "), " then ") {
		all, err := programs.Named(strings.Fields(round)...)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, errors.New("usage: compile PROGRAM... [then PROGRAM...]")
		}
		rounds = append(rounds, all)
	}
	return rounds, nil
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
