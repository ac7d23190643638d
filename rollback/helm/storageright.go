package helm

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
)

// secretType is the type of the Secrets in which Helm stores revisions.
const secretType = "helm.sh/release.v1" //nolint:gosec // no credential

// checkStorage adds a danger if backout may not create the object in which Helm stores the
// revision that a rollback makes: with the rights of a shed alone, nothing else may be missing.
//
// Those rights include to create and update ConfigMaps, because records are ConfigMaps. For a
// release in ConfigMaps the right to patch them says that backout may roll back.
func (t *dryRun) checkStorage(ctx context.Context, s rollback.Storage) {
	k, dry := t.plan.Key, []string{metav1.DryRunAll}
	next := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: objectName(k.Release, t.plan.Newest.Number+1), Namespace: k.Namespace},
		Type:       secretType,
	}
	verbs, what := "create, update", "create"
	_, err := t.client.revisions(s, k.Namespace).Create(ctx, next, metav1.CreateOptions{DryRun: dry, FieldManager: fieldManager})
	if s == rollback.ConfigMaps && !isForbidden(err) {
		verbs, what = "create, update, patch", "patch"
		_, err = t.client.clientset.CoreV1().ConfigMaps(k.Namespace).Patch(ctx, objectName(k.Release, t.plan.Newest.Number), types.MergePatchType, []byte("{}"),
			metav1.PatchOptions{DryRun: dry, FieldManager: fieldManager})
	}
	if isForbidden(err) {
		t.addDangers(rollback.Danger{Kind: rollback.DangerForbidden, What: fmt.Sprintf(
			"%s %s: backout may not %s it; add to backout's Role in namespace %s {apiGroups: [\"\"], resources: [%s], verbs: [%s]}",
			s.Kind(), next.Name, what, k.Namespace, resourceOf(s).Resource, verbs)})
	}
}
