package handler

import "github.com/upcommerce/backout/rollback/report"

// tone is the colour of a state or a headline, as a class of the style sheet.
type tone string

const (
	// toneHelp: an operator has to look.
	toneHelp tone = "help"
	// toneStopped: backout or an operator has stopped something: a canary is held, or
	// backout touches nothing.
	toneStopped tone = "stopped"
	// toneProgress: backout is not done.
	toneProgress tone = "progress"
	// toneCalm: backout does nothing more.
	toneCalm tone = "calm"
)

// stateTone returns the tone of a state.
func stateTone(s report.State) tone {
	switch s {
	case report.StateStuck, report.StateFailed, report.StateNotRecovered, report.StateNeedsHelp:
		return toneHelp
	case report.StateHeld, report.StateStorm, report.StatePaused:
		return toneStopped
	case report.StateActing, report.StateAwaitingRollback, report.StateVerifying, report.StateWaiting:
		return toneProgress
	case report.StateRecovered, report.StateRestored, report.StateUnverified, report.StateHoldEnded,
		report.StateShedUndone, report.StateObserved, report.StateNoAction:
		return toneCalm
	}
	return toneCalm
}

// stateLabel is a state as operators read it; an unknown one is shown as it is.
func stateLabel(s report.State) string {
	switch s {
	case report.StateActing:
		return "acting now"
	case report.StateStuck:
		return "stuck, retrying"
	case report.StateWaiting:
		return "waiting"
	case report.StateAwaitingRollback:
		return "rollback waits"
	case report.StateVerifying:
		return "verifying"
	case report.StateHeld:
		return "held at zero"
	case report.StateRecovered:
		return "recovered"
	case report.StateRestored:
		return "restored, unproven"
	case report.StateNotRecovered:
		return "not recovered"
	case report.StateFailed:
		return "failed"
	case report.StateUnverified:
		return "not verified"
	case report.StateHoldEnded:
		return "hold ended"
	case report.StateShedUndone:
		return "shed undone"
	case report.StateStorm:
		return "storm"
	case report.StateNeedsHelp:
		return "needs help"
	case report.StatePaused:
		return "paused"
	case report.StateObserved:
		return "observed only"
	case report.StateNoAction:
		return "no action"
	}
	return string(s)
}

// stateGlyph distinguishes states without colour.
func stateGlyph(s report.State) string {
	switch s {
	case report.StateActing:
		return "▶"
	case report.StateWaiting, report.StateAwaitingRollback:
		return "…"
	case report.StateVerifying:
		return "◔"
	case report.StateHeld, report.StatePaused:
		return "‖"
	case report.StateStorm:
		return "≈"
	case report.StateStuck, report.StateFailed, report.StateNotRecovered, report.StateNeedsHelp:
		return "!"
	case report.StateRecovered:
		return "✓"
	case report.StateRestored, report.StateUnverified:
		return "?"
	case report.StateHoldEnded, report.StateShedUndone, report.StateObserved, report.StateNoAction:
		return "–"
	}
	return "·"
}
