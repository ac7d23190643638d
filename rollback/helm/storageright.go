package helm

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// checkStorage adds a danger if backout may not create the Secret in which Helm stores the
// revision that a rollback makes: with the rights of a shed alone, nothing else may be missing.
func (t *dryRun) checkStorage(ctx context.Context) {
	k := t.plan.Key
	next := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secretName(k.Release, t.plan.Newest.Number+1), Namespace: k.Namespace},
		Type:       "helm.sh/release.v1",
	}
	_, err := t.client.clientset.CoreV1().Secrets(k.Namespace).Create(ctx, next, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager})
	if isForbidden(err) {
		t.addDangers(rollback.Danger{Kind: rollback.DangerForbidden, What: fmt.Sprintf(
			"Secret %s: backout may not create it; add to backout's Role in namespace %s {apiGroups: [\"\"], resources: [secrets], verbs: [create, update]}", next.Name, k.Namespace)})
	}
}
