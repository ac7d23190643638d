package serve

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/upcommerce/backout/internal/version"
)

// Access selects a cluster; the zero value selects kubectl's own.
type Access struct {
	Kubeconfig, Context string
	// Namespace is backout's own; "" is that of the kubeconfig or the pod.
	Namespace string
	// HelmDrivers are values of Helm's HELM_DRIVER, for a command that reads releases.
	HelmDrivers []string
}

// Cluster is a cluster to work on.
type Cluster struct {
	Config *rest.Config
	// Namespace is backout's own: that of its Lease.
	Namespace string
}

// FindCluster finds the cluster as kubectl does: in KUBECONFIG, then in the default
// file, then by the pod's service account. It sends no request.
func FindCluster(a Access) (Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: a.Context})
	config, err := loader.ClientConfig()
	if err != nil {
		return Cluster{}, fmt.Errorf("find the cluster: %w; set KUBECONFIG to a kubeconfig file, or run in a pod with a service account", err)
	}
	// The API server has its own fairness; a client-side limit would only delay
	// a shed.
	config.QPS = -1
	config.UserAgent = version.Current().UserAgent()
	if a.Namespace == "" {
		if a.Namespace, _, err = loader.Namespace(); err != nil {
			return Cluster{}, fmt.Errorf("find backout's own namespace: %w; set BACKOUT_NAMESPACE", err)
		}
	}
	return Cluster{Config: config, Namespace: a.Namespace}, nil
}
