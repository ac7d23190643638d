package rollback

import "strings"

// Target returns the newest older revision that was good and whose content
// differs from the accused one and from everything in condemned (digests of
// content that was backed out of before). The second result is false if there is
// none.
//
// A revision was good if Helm calls it deployed or superseded and its
// description does not tell of a failure: Helm also marks a failed revision
// superseded when a later rollback fails. "Rollback to N" needs no case of its
// own, because content is compared, never numbers.
func Target(h History, condemned map[string]bool) (Revision, bool) {
	accused := h.Accused()
	for _, r := range h.Older() {
		switch {
		case !r.good(),
			r.Chart != accused.Chart,
			r.Content == "",
			r.Content == accused.Content,
			condemned[r.Content]:
			continue
		}
		return r, true
	}
	return Revision{}, false
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
