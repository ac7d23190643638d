package ledger

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/upcommerce/backout/rollback"
)

// installationAnnotation, on the ConfigMap of pauses in a target's namespace, names the
// installation of backout that serves the target: the namespace that it runs in.
const installationAnnotation = "backout.dev/installation"

// Serve marks a target's namespace as served by this installation, unless it is marked
// already. It returns the installation that serves it: another one than the ledger's own
// must be left alone. Without a namespace of its own, the ledger marks nothing.
func (l *Ledger) Serve(ctx context.Context, namespace string) (installation string, err error) {
	if l.own == "" {
		return "", nil
	}
	err = retry.OnError(retry.DefaultRetry, changedMeanwhile, func() error {
		installation, err = l.serveOnce(ctx, namespace)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("mark namespace %s as served by the backout in namespace %s: %w", namespace, l.own, err)
	}
	return installation, nil
}

func changedMeanwhile(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

func (l *Ledger) serveOnce(ctx context.Context, namespace string) (string, error) {
	maps := l.client.CoreV1().ConfigMaps(namespace)
	cm, err := maps.Get(ctx, PausesName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: PausesName, Labels: pauseLabels(), Annotations: map[string]string{installationAnnotation: l.own},
		}}, metav1.CreateOptions{FieldManager: fieldManager})
		return l.own, err
	}
	if err != nil {
		return "", err
	}
	if named := cm.Annotations[installationAnnotation]; named != "" {
		return rollback.Short(rollback.Printable(named), rollback.MaxName), nil
	}
	if cm.Annotations == nil {
		cm.Annotations = make(map[string]string)
	}
	cm.Annotations[installationAnnotation] = l.own
	_, err = maps.Update(ctx, cm, metav1.UpdateOptions{FieldManager: fieldManager})
	return l.own, err
}
