package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/internal/serve"
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
