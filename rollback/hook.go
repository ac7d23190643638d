package rollback

import "slices"

// Hook is an upgrade hook of a revision.
type Hook struct {
	Name string
	// Content is the digest of its declaration, and of the configuration that it uses.
	Content string
	// Run is whether Helm ran it when it made the revision.
	Run HookRun
}

// HookRun is whether a hook ran, as far as Helm's own record of its last run shows.
type HookRun string

// The answers. A hook without a record of a run has none where Helm only copied it, with
// the revision to which it rolled back, and where a client removed it.
const (
	HookRan     HookRun = "ran"
	HookDidNot  HookRun = "did-not-run"
	HookUnknown HookRun = ""
)

// copiedHooks reports whether a rollback made the revision, so that it ran no upgrade
// hook: backout's own, or one that is described as Helm describes it, if the revision that
// the description names declares the same. `helm upgrade --description` takes any text.
func (h History) copiedHooks(r Revision) bool {
	if r.Claim != "" {
		return true
	}
	for _, from := range h {
		if from.Number < r.Number && r.Description == HelmDescription(from.Number) {
			return from.Content != "" && from.Content == r.Content && !slices.ContainsFunc(r.Hooks, func(hook Hook) bool { return !from.declares(hook) })
		}
	}
	return false
}

// declares reports whether the revision has the same hook.
func (r Revision) declares(hook Hook) bool {
	return slices.ContainsFunc(r.Hooks, func(own Hook) bool { return own.Name == hook.Name && own.Content == hook.Content })
}

// HooksSince returns the names of the upgrade hooks that ran when the revision was made and
// that the target does not declare alike: it never ran them.
func (h History) HooksSince(target int, r Revision) []string {
	from, _ := h.Named(target)
	copied := h.copiedHooks(r)
	var names []string
	for _, hook := range r.Hooks {
		ran := hook.Run == HookRan || hook.Run == HookUnknown && !copied
		if ran && !from.declares(hook) {
			names = append(names, hook.Name)
		}
	}
	return names
}
