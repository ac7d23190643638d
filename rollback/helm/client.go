// Package helm is the only package of backout that uses Helm: it reads the revisions of
// a release and rolls one back.
//
// It changes a release only through Helm's own rollback action, behind two guards: by
// guard.go, Helm writes only the planned revision; by hold.go, the canary's weight stays
// zero in the objects that Helm writes, and a number of replicas that an autoscaler set
// stays. fence.go is in front of both: it stops every write once backout may not write.
// recover.go alone writes without Helm: the status of a stored revision.
package helm

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/lru"

	"github.com/upcommerce/backout/rollback"
)

// fieldManager is the name that the helm program writes under. With another one, a later
// server-side apply by Helm 4 would meet a conflict.
const fieldManager = "helm"

// cachedRevisions bounds how many revisions' digests are cached, over all releases. One
// takes some hundred bytes.
const cachedRevisions = 10_000

// requestTimeout limits one request about Helm's revisions or the discovery.
const requestTimeout = 30 * time.Second

// Options are the parts of a Client.
type Options struct {
	// Config reaches the API server; New copies it and does not change it.
	Config *rest.Config
	// Registerer gets the package's metrics; with nil they are not registered.
	Registerer prometheus.Registerer
	// Storages are those in which releases are searched; nil means Secrets. Each but the first
	// costs a watch more for each namespace.
	Storages []rollback.Storage
	// Track says which pods are the canary's.
	Track rollback.Track
	// Log is slog.Default if nil. Helm's own lines are logged at level debug.
	Log *slog.Logger
	// User returns the user name that the requests of a rollback impersonate, by the
	// namespace of the release, whatever namespace its objects name; "" impersonates none,
	// as Nil does.
	User func(namespace string) string
	// Fence is called before every request that writes, also before Helm's own. If it
	// returns an error, nothing is sent, and the request fails with that error. Several
	// goroutines may call it at once. Nil lets everything pass. Dry runs pass without a
	// call: they change nothing.
	Fence func() error
	// Changed is called with each opted-in release of which Follow has seen a change: it must
	// not block. Nil calls nothing.
	Changed func(k rollback.Key)
}

// Client reads and rolls back Helm releases. It is safe for concurrent use.
type Client struct {
	config    *rest.Config
	track     rollback.Track
	user      func(namespace string) string
	storages  []rollback.Storage
	discovery discovery.CachedDiscoveryInterface
	mapper    *restmapper.DeferredDiscoveryRESTMapper
	clientset kubernetes.Interface
	metadata  metadata.Interface
	// watching is metadata without a limit on the duration of a request.
	watching metadata.Interface
	followed followed
	// changed is called by Follow, if not nil.
	changed func(k rollback.Key)
	dynamic dynamic.Interface
	// digests has a rollback.Revision, and manifests a manifest, by UID and
	// resourceVersion of the object that stores them.
	digests   *lru.Cache
	manifests manifestCache
	// stored has a storedAt by release and revision.
	stored   *lru.Cache
	decoding decoding
	large    large
	metrics  *metrics
	log      *slog.Logger
}

// New returns a client. It sends no request; Warm does.
func New(o Options) (*Client, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.User == nil {
		o.User = func(string) string { return "" }
	}
	if len(o.Storages) == 0 {
		o.Storages = []rollback.Storage{rollback.Secrets}
	}
	config := rest.CopyConfig(o.Config)
	if o.Fence != nil {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return fencedTransport{next, o.Fence} })
	}
	// Helm's storage driver takes no context, and a rollback's context does not end:
	// reads and writes of revisions end by the client's own limit. Hooks are watched
	// with the unlimited configuration.
	limited := rest.CopyConfig(config)
	limited.Timeout = requestTimeout
	clientset, err := kubernetes.NewForConfig(Typed(limited))
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	limitedMetadata, err := metadata.NewForConfig(limited)
	if err != nil {
		return nil, fmt.Errorf("make a metadata client: %w", err)
	}
	watching, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a metadata client: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	// This is a global variable of Helm: all clients of the process have the same name.
	kube.ManagedFieldsManager = fieldManager
	cached := memory.NewMemCacheClient(clientset.Discovery())
	return &Client{
		config: config, track: o.Track, user: o.User, storages: o.Storages, changed: o.Changed, discovery: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached),
		clientset: clientset, metadata: limitedMetadata, watching: watching, dynamic: objects,
		digests: lru.New(cachedRevisions), stored: lru.New(cachedRevisions),
		decoding: newDecoding(), large: newLarge(), metrics: newMetrics(o.Registerer), log: o.Log,
	}, nil
}

// Typed returns the configuration for clients of Kubernetes' own types: they use
// protobuf, which costs both sides less than JSON, unless the configuration names
// content types.
func Typed(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	if config.ContentType == "" && config.AcceptContentTypes == "" {
		config.ContentType = runtime.ContentTypeProtobuf
		config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	}
	return config
}

// Warm reads the API server's discovery once, so that the first rollback does not
// wait for it.
func (c *Client) Warm(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, _, err := c.discovery.ServerGroupsAndResources(); err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return fmt.Errorf("read what the API server offers: %w", err)
	}
	return nil
}

// kube returns Helm's own Kubernetes client for the namespace, for one rollback.
func (c *Client) kube(ctx context.Context, namespace string, seen *overloads) *kube.Client {
	objects := kube.New(getter{client: c, namespace: namespace, config: writeInOrder(seen.observe(c.asUser(namespace)))})
	objects.Namespace = namespace
	objects.Log = c.debug(ctx)
	return objects
}

// asUser returns the configuration for a rollback of the namespace's releases.
func (c *Client) asUser(namespace string) *rest.Config {
	config := rest.CopyConfig(c.config)
	if user := c.user(namespace); user != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
	}
	return config
}

// getter gives Helm's Kubernetes client the shared discovery and mapper. It implements
// genericclioptions.RESTClientGetter.
type getter struct {
	client    *Client
	namespace string
	config    *rest.Config
}

// ToRESTConfig returns a copy: kubectl's factory changes what it is given.
func (g getter) ToRESTConfig() (*rest.Config, error) {
	return rest.CopyConfig(g.config), nil
}

func (g getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.client.discovery, nil
}

func (g getter) ToRESTMapper() (meta.RESTMapper, error) {
	return g.client.mapper, nil
}

func (g getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}

// debug returns a function that logs Helm's lines at level debug.
func (c *Client) debug(ctx context.Context) func(string, ...any) {
	return func(format string, args ...any) {
		if c.log.Enabled(ctx, slog.LevelDebug) {
			c.log.DebugContext(ctx, "Helm reports", "reason", strings.TrimSpace(fmt.Sprintf(format, args...)))
		}
	}
}
