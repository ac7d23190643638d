package helm

import (
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/resource"
)

// isForbidden reports whether backout lacks a right. Admission webhooks, quotas and the pod
// security standards answer Forbidden, too; the API server's own text names the verb.
func isForbidden(err error) bool {
	if !apierrors.IsForbidden(err) {
		return false
	}
	text := err.Error()
	return strings.Contains(text, " cannot ") && strings.Contains(text, " resource ")
}

// forbiddenText says which right backout lacks, and what to add.
func forbiddenText(info *resource.Info, namespace string, verbs ...string) string {
	r := info.Mapping.Resource
	return fmt.Sprintf("backout may not %s it; add to backout's Role in namespace %s {apiGroups: [%q], resources: [%s], verbs: [%s]}",
		strings.Join(verbs, " or "), namespace, r.Group, r.Resource, strings.Join(verbs, ", "))
}
