package helm

import (
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// hookDangers returns the upgrade hooks that ran since the target and differ from its own.
func hookDangers(history rollback.History, p rollback.Plan) []rollback.Danger {
	var found []rollback.Danger
	for _, r := range history {
		if r.Number <= p.Target || r.Number > p.Newest.Number || r.Claim == p.Suspect.UID && r.Number > p.Suspect.Number {
			continue
		}
		if names := history.HooksSince(p.Target, r); len(names) > 0 {
			found = append(found, rollback.Danger{
				Kind: rollback.DangerHook,
				What: fmt.Sprintf("the upgrade to revision %d ran %s, which a rollback does not undo", r.Number, strings.Join(names, ", ")),
			})
		}
	}
	return found
}

// upgradeHooks returns the upgrade hooks of a stored revision.
func (d declaration) upgradeHooks(stored *release.Release) []rollback.Hook {
	var found []rollback.Hook
	for _, h := range stored.Hooks {
		if len(found) == maxHookNames || !slices.Contains(h.Events, release.HookPreUpgrade) && !slices.Contains(h.Events, release.HookPostUpgrade) {
			continue
		}
		found = append(found, rollback.Hook{Name: rollback.Short(h.Name, rollback.MaxName), Content: d.hookDigest(h.Manifest), Run: ranWith(stored, h)})
	}
	return found
}

// ranWith says whether Helm ran the hook when it made the revision. Helm writes each run into
// the revision, and a rollback copies the hooks with the runs of an earlier one.
func ranWith(stored *release.Release, h *release.Hook) rollback.HookRun {
	switch at := h.LastRun.StartedAt; {
	case at.IsZero():
		return rollback.HookUnknown
	case at.Before(stored.Info.LastDeployed):
		return rollback.HookDidNot
	default:
		return rollback.HookRan
	}
}

// hookDigest returns the digest of a hook and of the configuration that it uses; that of
// its text if it cannot be decoded.
func (d declaration) hookDigest(manifest string) string {
	objects, err := decodeManifest(manifest)
	if err != nil {
		return digestOf(manifest)
	}
	used := make(map[string]bool)
	var parts []any
	for _, o := range objects {
		if w, ok := rollback.WorkloadOf(o); ok {
			parts = append(parts, []any{w.Kind, d.template(workload{Workload: w})})
		} else {
			parts = append(parts, []any{o["kind"], d.object(o)})
		}
		addReferences(used, namespaceOf(d.namespace, o), o["spec"])
	}
	for _, o := range d.objects {
		if id := identity(d.namespace, o); used[id] {
			parts = append(parts, []any{id, o["data"], o["stringData"], o["binaryData"]})
		}
	}
	return digestOf(parts)
}
