package helm

import (
	"encoding/json"
	"fmt"
	"strings"
)

// manifestAfterInterruption returns a manifest of everything that may be live after a
// rollback was interrupted: the suspect revision's objects, because those that the
// attempt did not reach are still there and have to go, and the objects that only the
// others declare (the attempt and the target), because the attempt may have created
// them. Helm compares it with the target and finds both what to delete and what to
// leave.
func manifestAfterInterruption(namespace, suspect string, others ...string) (string, error) {
	all, err := decodeManifest(suspect)
	if err != nil {
		return "", fmt.Errorf("decode the suspect revision's manifest: %w", err)
	}
	known := make(map[string]bool, len(all))
	for _, object := range all {
		known[identity(namespace, object)] = true
	}
	var text strings.Builder
	text.WriteString(suspect)
	for _, other := range others {
		if all, err = decodeManifest(other); err != nil {
			return "", fmt.Errorf("decode the manifest of the interrupted rollback: %w", err)
		}
		for _, object := range all {
			id := identity(namespace, object)
			if known[id] {
				continue
			}
			known[id] = true
			document, err := json.Marshal(object)
			if err != nil {
				return "", fmt.Errorf("encode %s: %w", id, err)
			}
			text.WriteString("\n---\n") // JSON is YAML
			text.Write(document)
		}
	}
	return text.String(), nil
}
