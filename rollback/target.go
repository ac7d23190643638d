package rollback

import (
	"fmt"
	"slices"
	"strings"
)

// Target returns the newest older revision that was good and whose content differs from
// that of the newest one and is not among the known bad (digests of content). The last
// result is false if no revision qualifies. The candidates are the revisions that were
// considered, newest first, down to the target.
//
// A revision was good if Helm calls it deployed or superseded and its description is not
// one that Helm gives a failed operation: Helm also marks a failed revision superseded when
// a later rollback fails. "Rollback to N" needs no case of its own, because content is
// compared, never numbers.
//
// A revision before the promotion of a canary is no way back from it: for a suspect
// without a canary, a revision whose canary runs the suspect's pods does not qualify. If no
// other one does, it is the target all the same, with its canary held at zero: see
// Revision.PromotedBy.
func Target(h History, knownBad map[string]bool) (Revision, []Candidate, bool) {
	candidates := make([]Candidate, 0, len(h.Older()))
	promoted := -1
	for i, r := range h.Older() {
		why := r.unfitFor(h.Newest(), knownBad)
		if to, made := h.rolledBackTo(); why == "" && made && r.Number > to {
			why = fmt.Sprintf("revision %d is a Helm rollback from it", h.Newest().Number)
		}
		if promoted < 0 && why == r.promotedText(h.Newest()) && r.PromotedBy(h.Newest()) {
			promoted = i
		}
		candidates = append(candidates, Candidate{Revision: r.Number, Status: r.Status, Deployed: r.Deployed, Reason: why})
		if why == "" {
			return r, candidates, true
		}
	}
	if promoted < 0 {
		return Revision{}, candidates, false
	}
	candidates[promoted].Reason, candidates[promoted].Zero = "", true
	return h.Older()[promoted], candidates, true
}

// unfitFor says why r cannot be the target of a rollback of the suspect; "" if it can.
func (r Revision) unfitFor(suspect Revision, knownBad map[string]bool) string {
	switch {
	case r.Unreadable != "":
		return "it cannot be read: " + Clip(r.Unreadable, MaxSummary)
	case !r.good() && reportsFailure(r.Description):
		return "it failed: " + Clip(r.Description, MaxName)
	case !r.good():
		return fmt.Sprintf("it was not deployed: its Helm status is %s", r.Status)
	case r.Chart != suspect.Chart:
		return fmt.Sprintf("it has a different chart, %q", Clip(r.Chart, MaxName))
	case r.Content == "":
		return "its content is unknown: it has no workload"
	case r.Content == suspect.Content:
		return fmt.Sprintf("its content is that of revision %d", suspect.Number)
	case knownBad[r.Content]:
		return "its content is known bad: backout rolled it back or held it before"
	case r.PromotedBy(suspect):
		return r.promotedText(suspect)
	default:
		return ""
	}
}

// good reports whether Helm says that the revision was deployed without failing.
func (r Revision) good() bool {
	return (r.Status == StatusDeployed || r.Status == StatusSuperseded) && !reportsFailure(r.Description)
}

// reportsFailure recognizes the descriptions that Helm gives an operation that failed, such
// as `Upgrade "shop" failed: ...`, or that has not ended. Any other text may be one that a
// user gave: `helm upgrade --description`.
func reportsFailure(description string) bool {
	for _, operation := range []string{"Release", "Upgrade", "Rollback"} {
		if rest, ok := strings.CutPrefix(description, operation+` "`); ok {
			name, _, ended := strings.Cut(rest, `" failed: `)
			return ended && !strings.ContainsAny(name, `" `)
		}
	}
	return slices.Contains([]string{"Initial install underway", "Preparing upgrade"}, description)
}

// PromotedBy reports whether the suspect has no canary, and runs the pods of r's canary: a
// rollback of the suspect to r has to hold that canary at zero.
func (r Revision) PromotedBy(suspect Revision) bool {
	return suspect.Canary == "" && r.Canary != "" && intersects(suspect.Pods, r.Pods)
}

// chosenFor says why r is the target of a rollback of the suspect.
func (r Revision) chosenFor(suspect Revision) string {
	if r.PromotedBy(suspect) {
		return "the only good one with different content"
	}
	return "the newest good one with different content"
}

func (r Revision) promotedText(suspect Revision) string {
	return fmt.Sprintf("its canary runs the pods of revision %d", suspect.Number)
}

// runsTheSame reports whether the canaries of both revisions run the same images, or, if
// neither has one, their workloads.
func (r Revision) runsTheSame(other Revision) bool {
	return len(r.Images) > 0 && !r.PromotedBy(other) && slices.Equal(r.Images, other.Images)
}

// sameImages says that the target runs the same images as the suspect, or that its canary
// runs the suspect's pods; "" if it does neither. It begins with a semicolon.
func sameImages(target, suspect Revision) string {
	switch {
	case target.PromotedBy(suspect):
		return fmt.Sprintf("; the canary of revision %d runs the pods of revision %d, and has to stay at zero", target.Number, suspect.Number)
	case !target.runsTheSame(suspect):
		return ""
	case target.Canary == "":
		return fmt.Sprintf("; revision %d runs the same images", target.Number)
	default:
		return fmt.Sprintf("; the canary of revision %d runs the same images", target.Number)
	}
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// knownBadSigned is KnownBad for what backout itself has signed: other clients may have
// written the rest, and so could choose the target.
func knownBadSigned(records []Record) map[string]bool {
	return KnownBad(slices.DeleteFunc(slices.Clone(records), func(r Record) bool {
		decided := slices.ContainsFunc(r.Decisions, func(d Decision) bool { return d.Hold && !byOperator(d) })
		return r.Unsigned || r.Rollback == nil && !decided
	}))
}
