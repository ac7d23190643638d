package report

import (
	"cmp"
	"fmt"

	"github.com/upcommerce/backout/rollback"
)

// operatorOf returns the operator of a manual rollback.
func operatorOf(m *rollback.ManualRollback) string { return cmp.Or(m.Operator, "an operator") }

// stateOfManual returns the state of a record whose release an operator rolls back, or has
// rolled back, with a command; false if none does.
func stateOfManual(r *rollback.Record) (State, bool) {
	m := r.Manual
	switch {
	case m.Active() && !m.Stalled.IsZero():
		return StateNeedsHelp, true
	case m.Active():
		return StateActing, true
	case m != nil && m.Made > 0 && !r.Closed.IsZero():
		return StateHoldEnded, true
	}
	return "", false
}

// manualHeadline says in one sentence how far the operator's command is; "" without one.
func manualHeadline(r *rollback.Record) string {
	m := r.Manual
	if _, ok := stateOfManual(r); !ok {
		return ""
	}
	who := operatorOf(m)
	switch {
	case !m.Stalled.IsZero() && m.Active():
		return fmt.Sprintf("%s began to roll the release back to revision %d, and the command does not go on%s.", who, m.Target, canaryTraffic(r))
	case m.Active():
		return fmt.Sprintf("%s rolls the release back to revision %d%s; backout leaves it alone meanwhile.", who, m.Target, canaryTraffic(r))
	default:
		return fmt.Sprintf("%s rolled the release back to revision %d, as revision %d%s.", who, m.Target, m.Made, colon(m.Note))
	}
}

// manualTitle is manualHeadline without the name of the operator, for a title.
func manualTitle(r *rollback.Record) string {
	m := r.Manual
	if _, ok := stateOfManual(r); !ok {
		return ""
	}
	switch {
	case !m.Stalled.IsZero() && m.Active():
		return fmt.Sprintf("an operator's rollback to revision %d does not go on", m.Target)
	case m.Active():
		return fmt.Sprintf("an operator rolls it back to revision %d", m.Target)
	default:
		return fmt.Sprintf("an operator rolled it back to revision %d", m.Target)
	}
}

// plainHelm is the command for an operator without backout's program; none for a command that
// rolls nothing back.
func plainHelm(c rollback.Command) Command {
	return Command{Why: "the same with Helm alone, which gives the canary its weight before its pods are replaced", Line: c.PlainHelm()}
}

// manualEntries returns the beginning, the standstill and the end of a manual rollback.
func manualEntries(r *rollback.Record) []Entry {
	m := r.Manual
	if m == nil {
		return nil
	}
	all := []Entry{{
		Key: timedKey("manual", m.Started), At: m.Started, Kind: EntryWaiting,
		Text: fmt.Sprintf("%s rolls the release back to revision %d with a command; backout leaves it alone", operatorOf(m), m.Target),
	}}
	if m.Active() && !m.Stalled.IsZero() {
		all = append(all, Entry{
			Key: timedKey("manual-stalled", m.Stalled), At: m.Stalled, Kind: EntryNeedsHelp, Outcome: true, NeedsHelp: true,
			Text: fmt.Sprintf("the rollback to revision %d that %s began has not gone on for %s: run the command again", m.Target, operatorOf(m), rollback.ManualPatience),
		})
	}
	if !m.Ended.IsZero() && m.Made > 0 {
		all = append(all, Entry{
			Key: timedKey("manual-ended", m.Ended), At: m.Ended, Kind: EntryRolledBack, Outcome: true,
			Text: fmt.Sprintf("%s rolled back from revision %d to %d, as revision %d", operatorOf(m), r.Revision, m.Target, m.Made),
		})
	}
	return all
}
