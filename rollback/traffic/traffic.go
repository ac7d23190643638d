package traffic

import (
	"fmt"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
)

// Options are the parts of a Router.
type Options struct {
	// Config reaches the API server.
	Config *rest.Config
	// Track says which pods are the canary's.
	Track rollback.Track
	// Fence is called right before every write that gives the canary traffic; if it returns
	// an error, nothing is sent. Nil never refuses. A write that takes traffic from the
	// canary is not fenced: any replica may send it.
	Fence func() error
}

// Router sets the canary's weight on live routing objects. It is safe for concurrent use.
type Router struct {
	objects dynamic.Interface
	serving *serving
	kinds   registry
	track   rollback.Track
	fence   func() error
}

// New returns a Router. It sends no request to the API server.
func New(o Options) (*Router, error) {
	client, err := rest.HTTPClientFor(o.Config)
	if err != nil {
		return nil, fmt.Errorf("make an HTTP client: %w", err)
	}
	objects, err := dynamic.NewForConfigAndClient(o.Config, client)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	served, err := discovery.NewDiscoveryClientForConfigAndClient(o.Config, client)
	if err != nil {
		return nil, fmt.Errorf("make a discovery client: %w", err)
	}
	return &Router{objects: objects, serving: &serving{discovery: served}, kinds: newRegistry(), track: o.Track, fence: o.Fence}, nil
}
