package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// The demo's own namespaces: one for backout, Prometheus and Alertmanager, and one for the
// storefront.
const (
	toolsNamespace = "backout-demo"
	shopNamespace  = "backout-demo-shop"
	// shopHost is the host name of the storefront's route.
	shopHost = shopNamespace + ".localhost"
)

// A namespace of the demo has this label. The demo removes no other.
const (
	ownLabel = "backout.dev/demo"
	ownValue = "true"
)

// removeLimit bounds the removal of namespaces: all their pods have to end.
const removeLimit = 3 * time.Minute

func ownNamespaces() []string { return []string{toolsNamespace, shopNamespace} }

// found are the namespaces that exist with the names of the demo's own.
type found struct{ own, foreign []corev1.Namespace }

// find looks for them.
func find(ctx context.Context, client kubernetes.Interface) (found, error) {
	var all found
	for _, name := range ownNamespaces() {
		n, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return found{}, fmt.Errorf("read namespace %s: %w", name, err)
		case n.Labels[ownLabel] == ownValue:
			all.own = append(all.own, *n)
		default:
			all.foreign = append(all.foreign, *n)
		}
	}
	return all, nil
}

// leftovers returns the namespaces of an earlier demo. It is an error if there is a
// namespace with the name of one, but without its label.
func leftovers(ctx context.Context, client kubernetes.Interface) ([]corev1.Namespace, error) {
	all, err := find(ctx, client)
	if err != nil || len(all.foreign) == 0 {
		return all.own, err
	}
	return nil, fmt.Errorf("%s exists without the label %s=%s, so it is not the demo's own, and nothing was written: "+
		"delete it if you do not need it, or use another cluster", names(all.foreign), ownLabel, ownValue)
}

// names are the names of namespaces.
func names(all []corev1.Namespace) string {
	var each []string
	for i := range all {
		each = append(each, "namespace "+all[i].Name)
	}
	return strings.Join(each, " and ")
}

// makeNamespaces makes the demo's namespaces. ctx does not interrupt a request: otherwise the
// API server could make a namespace after the clean-up.
func makeNamespaces(ctx context.Context, client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestLimit)
	defer cancel()
	for _, name := range ownNamespaces() {
		n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			ownLabel: ownValue, "pod-security.kubernetes.io/enforce": "restricted",
		}}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, n, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make namespace %s: %w; the demo needs the right to make namespaces", name, err)
		}
	}
	return nil
}

// removeNamespaces removes the demo's namespaces, and returns when they are gone.
func removeNamespaces(ctx context.Context, client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeoutCause(ctx, removeLimit, fmt.Errorf("they were still there after %s", removeLimit))
	defer cancel()
	for {
		left, err := find(ctx, client)
		if err == nil && len(left.own) == 0 {
			return nil
		}
		for _, n := range left.own {
			if n.DeletionTimestamp == nil {
				// The UID: not a namespace that another client has made in the meantime.
				err = errors.Join(err, client.CoreV1().Namespaces().Delete(ctx, n.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &n.UID}}))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove the namespaces of the demo: %w; remove them with: kubectl delete namespace %s",
				errors.Join(context.Cause(ctx), err), strings.Join(ownNamespaces(), " "))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
