package rollback

import (
	"fmt"
	"strings"
	"time"
)

// Candidate is one older revision, as the search for a target saw it.
type Candidate struct {
	Revision int       `json:"revision"`
	Status   Status    `json:"status,omitempty"`
	Deployed time.Time `json:"deployed,omitzero"`
	// Why says why it is not the target; "" if it is.
	Why string `json:"why,omitempty"`
}

// Target returns the newest older revision that was good and whose content
// differs from the accused one and from everything in condemned (digests of
// content that was backed out of before). The last result is false if there is
// none. The candidates are what was looked at, newest first, down to the target.
//
// A revision was good if Helm calls it deployed or superseded and its
// description does not tell of a failure: Helm also marks a failed revision
// superseded when a later rollback fails. "Rollback to N" needs no case of its
// own, because content is compared, never numbers.
func Target(h History, condemned map[string]bool) (Revision, []Candidate, bool) {
	candidates := make([]Candidate, 0, len(h.Older()))
	for _, r := range h.Older() {
		why := r.unfit(h.Accused(), condemned)
		candidates = append(candidates, Candidate{Revision: r.Number, Status: r.Status, Deployed: r.Deployed, Why: why})
		if why == "" {
			return r, candidates, true
		}
	}
	return Revision{}, candidates, false
}

// unfit says why nobody may be sent back to the revision; "" if it is good.
func (r Revision) unfit(accused Revision, condemned map[string]bool) string {
	switch {
	case !r.good() && tellsOfFailure(r.Description):
		return "it failed: " + clip(r.Description, maxName)
	case !r.good():
		return fmt.Sprintf("it never was in force: Helm calls it %s", r.Status)
	case r.Chart != accused.Chart:
		return fmt.Sprintf("it is of another chart, %q", clip(r.Chart, maxName))
	case r.Content == "":
		return "nobody knows what it ran: it has no workload, or cannot be read"
	case r.Content == accused.Content:
		return fmt.Sprintf("it runs the same as revision %d", accused.Number)
	case condemned[r.Content]:
		return "what it runs was backed out of before"
	default:
		return ""
	}
}

// good reports whether Helm says that the revision was deployed without failing.
func (r Revision) good() bool {
	return (r.Status == StatusDeployed || r.Status == StatusSuperseded) && !tellsOfFailure(r.Description)
}

// tellsOfFailure recognises Helm's descriptions of failed operations, such as
// `Upgrade "shop" failed: ...` and `Release "shop" failed: ...`.
func tellsOfFailure(description string) bool {
	return strings.Contains(strings.ToLower(description), "failed")
}
