package traffic

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fromAPICache lists the objects that the API server has cached. A list of the stored ones
// waits until that cache has caught up, for up to a tenth of a second.
func fromAPICache() metav1.ListOptions { return metav1.ListOptions{ResourceVersion: "0"} }

// withHint adds to a refused list the right that backout lacks.
func withHint(err error, resource, namespace string) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w; allow backout to list %s in namespace %s", err, resource, namespace)
	}
	return err
}
