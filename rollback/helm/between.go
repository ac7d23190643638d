package helm

import (
	"encoding/json"
	"fmt"
	"strings"
)

// between returns the manifest of what may be live once a rollback was
// interrupted: the accused revision's objects, because what the attempt did not
// reach is still there and has to go, and those that only the attempt or the
// target has, because what it reached is there already. Helm compares it with
// the target and finds both what to delete and what to leave.
func between(namespace, accused string, others ...string) (string, error) {
	all, err := objects(accused)
	if err != nil {
		return "", fmt.Errorf("decode the accused revision's manifest: %w", err)
	}
	known := make(map[string]bool, len(all))
	for _, object := range all {
		known[identity(namespace, object)] = true
	}
	var text strings.Builder
	text.WriteString(accused)
	for _, other := range others {
		if all, err = objects(other); err != nil {
			return "", fmt.Errorf("decode the manifest that was gone back to: %w", err)
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
