package stage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Place is a namespace with a host name of its own, so that one cluster can have several
// storefronts.
type Place struct {
	Namespace, Host string
	*Cluster
}

// Place returns the place of that namespace; its host is named after it.
func (c *Cluster) Place(namespace string) Place {
	return Place{Namespace: namespace, Host: namespace + ".localhost", Cluster: c}
}

// Usual is the exercise's place.
func (c *Cluster) Usual() Place { return Place{Namespace: Namespace, Host: Host, Cluster: c} }

// Install installs the storefront as the release, or upgrades it, in the usual place.
func (c *Cluster) Install(ctx context.Context, release string, values ...string) error {
	return c.Usual().Install(ctx, release, values...)
}

// AwaitRollout waits until every Deployment of the usual place is rolled out.
func (c *Cluster) AwaitRollout(ctx context.Context) error { return c.Usual().AwaitRollout(ctx) }

// Install installs the storefront as the release, or upgrades it. Each value is an
// argument of helm's --set-string, or after a leading colon, of --set. Install does not
// wait for pods.
func (p Place) Install(ctx context.Context, release string, values ...string) error {
	args := append([]string{"upgrade", "--install", release, p.Chart(), "--namespace", p.Namespace, "--create-namespace"},
		p.ChartArguments()...)
	args = append(args, "--set-string", "ingress.host="+p.Host)
	for _, value := range values {
		if plain, ok := strings.CutPrefix(value, ":"); ok {
			args = append(args, "--set", plain)
		} else {
			args = append(args, "--set-string", value)
		}
	}
	_, err := p.Helm(ctx, args...)
	return err
}

// AwaitRollout waits until every Deployment of the place is rolled out.
func (p Place) AwaitRollout(ctx context.Context) error {
	return AwaitRollout(ctx, p.Client, p.Namespace)
}

// AwaitRollout waits until every Deployment in a namespace of any cluster is rolled
// out.
func AwaitRollout(ctx context.Context, client kubernetes.Interface, namespace string) error {
	for {
		waiting, err := unready(ctx, client, namespace)
		if err == nil && len(waiting) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for Deployments %v: %w", waiting, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// unready names the Deployments that are not rolled out.
func unready(ctx context.Context, client kubernetes.Interface, namespace string) ([]string, error) {
	list, err := client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var waiting []string
	for _, d := range list.Items {
		want := *d.Spec.Replicas
		st := d.Status
		if st.ObservedGeneration < d.Generation || st.Replicas != want || st.UpdatedReplicas != want || st.AvailableReplicas != want {
			waiting = append(waiting, d.Name)
		}
	}
	return waiting, nil
}
