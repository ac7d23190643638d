package rollback

import "fmt"

// Owner is another tool that manages objects of a release.
type Owner struct {
	// Tool is its name, such as "Flux"; "" if no tool manages them.
	Tool string `json:"tool,omitempty"`
	// Object is the tool's own object, such as "HelmRelease flux-system/shop".
	Object string `json:"object,omitempty"`
	// Command is what an operator runs to roll back under that tool.
	Command Command `json:"command,omitzero"`
	// SetsWeights says that the tool sets the canary's weight: then backout does not
	// change the weight either.
	SetsWeights bool `json:"setsWeights,omitempty"`
}

// Describe returns the owner in a few words; "" for the zero Owner.
func (o Owner) Describe() string {
	if o.Tool == "" {
		return ""
	}
	return fmt.Sprintf("%s manages it through %s", o.Tool, o.Object)
}

// Stronger returns the owner that counts of two: one that sets weights, else o, else
// other.
func (o Owner) Stronger(other Owner) Owner {
	if o.Tool == "" || other.SetsWeights && !o.SetsWeights {
		return other
	}
	return o
}
