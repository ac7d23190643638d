package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
)

// defaultNamespace is where commands expect backout if neither a flag nor a variable
// names its namespace.
const defaultNamespace = "backout"

// addClusterFlags adds the flags that select the cluster.
func addClusterFlags(c *cobra.Command, a *serve.Access) {
	c.Flags().StringVar(&a.Kubeconfig, "kubeconfig", "", "path of the kubeconfig file, as for kubectl")
	c.Flags().StringVar(&a.Context, "context", "", "context of the kubeconfig, as for kubectl")
}

// addNamespaceFlag adds the flag that names backout's own namespace.
func addNamespaceFlag(c *cobra.Command, a *serve.Access, fallback string) {
	c.Flags().StringVar(&a.Namespace, "backout-namespace", fallback, "namespace that backout itself runs in")
}

// trackFlag is the flag that names the label of the canary's pods.
const trackFlag = "track-label"

// addTrackFlag adds the flag for the track label, which is the environment's by default.
func addTrackFlag(c *cobra.Command, label *string, env envconfig.Lookuper) {
	given, _ := env.Lookup(serve.Prefix + "TRACK_LABEL")
	c.Flags().StringVar(label, trackFlag, cmp.Or(given, rollback.Track{}.String()), "label of the canary's pods and its values, as BACKOUT_TRACK_LABEL of the running backout")
}

// ownNamespace returns backout's own namespace as the environment names it.
func ownNamespace(env envconfig.Lookuper) string {
	own, _ := env.Lookup(serve.Prefix + "NAMESPACE")
	return cmp.Or(own, defaultNamespace)
}

// addManualFlags adds the flags of a command that changes something. It searches a release in
// every storage, unless BACKOUT_HELM_DRIVER or Helm's own HELM_DRIVER names one.
func addManualFlags(c *cobra.Command, a *serve.Access, env envconfig.Lookuper) {
	addClusterFlags(c, a)
	addNamespaceFlag(c, a, ownNamespace(env))
	own, _ := env.Lookup(serve.Prefix + "HELM_DRIVER")
	helms, _ := env.Lookup("HELM_DRIVER")
	c.Flags().StringSliceVar(&a.HelmDrivers, "helm-driver", strings.Split(cmp.Or(own, helms, "secret,configmap"), ","),
		"where Helm stores the release: secret, configmap, or both, which searches both")
}

// connect finds the cluster and returns it with a client.
func connect(a serve.Access) (serve.Cluster, *kubernetes.Clientset, error) {
	in, err := serve.FindCluster(a)
	if err != nil {
		return serve.Cluster{}, nil, err
	}
	client, err := kubernetes.NewForConfig(in.Config)
	if err != nil {
		return serve.Cluster{}, nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return in, client, nil
}
