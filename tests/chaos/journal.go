package chaos

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// journal writes a timeline of the trial next to the logs.
func (r *Run) journal() error {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	if r.watcher != nil {
		for _, s := range r.watcher.Commits() {
			lines = append(lines, line{s.At, fmt.Sprintf("committed %s (%d)", s.What, s.Version)})
		}
	}
	if r.proxy != nil {
		for _, w := range r.proxy.Writes() {
			lines = append(lines, line{w.At, fmt.Sprintf("replica %d writes %s", w.Replica, w)})
		}
	}
	if r.command != nil {
		for _, w := range r.command.proxy.Writes() {
			lines = append(lines, line{w.At, fmt.Sprintf("the command writes %s", w)})
		}
	}
	for _, v := range r.shop.shoppers.Visits() {
		if v.Failed() || v.Version == "v3" {
			lines = append(lines, line{v.At, fmt.Sprintf("a shopper got %s", v)})
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "%s %s %s\n", l.at.Format("15:04:05.000"), r.since(l.at), l.text)
	}
	fmt.Fprintf(&text, "\nrevisions: %v\n\n%s\n", r.facts.Revisions, strings.Join(r.facts.Texts, "\n---\n"))
	if err := os.WriteFile(filepath.Join(r.dir, "journal"), []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}
