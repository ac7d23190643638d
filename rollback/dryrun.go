package rollback

// DryRunResult is what the engine would do about an alert now.
type DryRunResult struct {
	// Record is what the suspect revision's record would contain after the decision; it is
	// not stored. Where the engine would store no record, the decision says why.
	Record Record `json:"record"`
	// Routing is the canary's live traffic; nil if it was not observed.
	Routing *Routing `json:"-"`
	// Missed says which ways to the canary a shed would leave open: see Routing.Missed.
	Missed []string `json:"missed,omitempty"`
	// Assumed lists the facts that the dry run assumed because it could not read them.
	Assumed []string `json:"assumed,omitempty"`
}
