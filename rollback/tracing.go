package rollback

import (
	"fmt"
	"slices"
)

// DecideWithTrace returns the decision that Decide returns, and its trace.
func DecideWithTrace(c Case) (Decision, Trace) {
	t := Trace{At: c.Now}
	c.traceTo = &t
	return Decide(c), t
}

// trace adds a check to the trace, if there is one.
func (c Case) trace(name, format string, args ...any) {
	if c.traceTo != nil {
		c.traceTo.Checks = append(c.traceTo.Checks, TraceCheck{Name: name, Result: Clip(fmt.Sprintf(format, args...), maxResult)})
	}
}

// target returns the target of a rollback of the newest revision, and adds the candidates
// to the trace. A record that backout has not signed can take the target away, and cannot
// replace it by another one.
func (c Case) target() (Revision, bool) {
	blaming := c.blaming(c.Records)
	target, candidates, ok := Target(c.History, knownBadSigned(blaming))
	if ok && KnownBad(blaming)[target.Content] {
		ok = false
		i := slices.IndexFunc(candidates, func(c Candidate) bool { return c.Revision == target.Number })
		candidates[i].Reason, candidates[i].Zero = "a record that backout has not signed says that its content is bad", false
	}
	if c.traceTo != nil {
		c.traceTo.Candidates = candidates[:min(len(candidates), maxCandidates)]
	}
	return target, ok
}

// attribution says why the signal, whose assessment has no other reason, is or is not
// about the content of the newest revision.
func (c Case) attribution(s Signal) string {
	newest := c.History.Newest()
	switch {
	case s.Revision == newest.Number:
		return fmt.Sprintf("it names revision %d", newest.Number)
	case c.ownEvidence(s):
		return fmt.Sprintf("it fires on what the pods of revision %d did alone", newest.Number)
	case c.identifies(s.Version) && c.afterContent(s):
		return fmt.Sprintf("it names version %s, which only revision %d runs", s.Version, newest.Number)
	case c.ContentSince().IsZero():
		return fmt.Sprintf("the deployment time of the content of revision %d is unknown", newest.Number)
	case c.afterContent(s):
		return fmt.Sprintf("it started %s after the content of revision %d was deployed", Round(s.ActiveSince().Sub(c.ContentSince())), newest.Number)
	default:
		return fmt.Sprintf("it started before the content of revision %d was deployed, and still fires %s after that; BACKOUT_SETTLE is %s",
			newest.Number, Round(c.Now.Sub(c.ContentSince())), c.Policy.Settle)
	}
}
