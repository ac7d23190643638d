// Package helm is backout's only door to Helm: it reads the revisions of a
// release and rolls one back.
//
// It changes a release only through Helm's own rollback action, behind two
// guards: guard.go lets it write nothing but the planned revision, hold.go keeps
// the canary's weight at zero, and what an autoscaler set, in what it writes.
// fence.go stands before both: nothing is written once backout may not. The one
// thing that is written past Helm is the status of a stored revision, in
// recover.go.
package helm

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/storage/driver"
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
)

// fieldManager is the name that the helm program writes under. With another one,
// a later server-side apply by Helm 4 would meet a conflict.
const fieldManager = "helm"

// cachedRevisions bounds how many revisions' digests are kept, over all
// releases. One takes some hundred bytes.
const cachedRevisions = 10_000

// requestTimeout limits one request about Helm's Secrets or the discovery.
const requestTimeout = 30 * time.Second

// Options are the parts of a Client.
type Options struct {
	// Config reaches the API server; it is copied, never changed.
	Config *rest.Config
	// Log is slog.Default if nil. Helm's own lines come at level debug.
	Log *slog.Logger
	// Fence is asked before every request that writes, also those that Helm sends.
	// If it returns an error, nothing is sent, and the request fails with that
	// error. It may be called by several goroutines at once. Nil lets everything
	// pass. What the API server is only asked to try out passes unasked: it changes
	// nothing, whoever asks.
	Fence func() error
}

// Client reads and rolls back Helm releases stored in Secrets. It is safe for
// concurrent use.
type Client struct {
	config    *rest.Config
	discovery discovery.CachedDiscoveryInterface
	mapper    *restmapper.DeferredDiscoveryRESTMapper
	clientset kubernetes.Interface
	metadata  metadata.Interface
	// watching is metadata without a limit on how long a request may take.
	watching metadata.Interface
	followed followed
	dynamic  dynamic.Interface
	// digests are rollback.Revisions, by UID and resourceVersion of their Secret;
	// manifests are by the same.
	digests   *lru.Cache
	manifests shelf
	// seen are sightings, by release and revision.
	seen *lru.Cache
	log  *slog.Logger
}

// New returns a client. It asks nothing of the API server; Warm does.
func New(o Options) (*Client, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	config := rest.CopyConfig(o.Config)
	if o.Fence != nil {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return fenced{next, o.Fence} })
	}
	// Helm's storage driver takes no context, and a rollback's context does not
	// end: reads and writes of revisions end by the client's own limit. Hooks are
	// watched with the unlimited configuration.
	limited := rest.CopyConfig(config)
	limited.Timeout = requestTimeout
	clientset, err := kubernetes.NewForConfig(Typed(limited))
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	heads, err := metadata.NewForConfig(limited)
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
	// A variable of Helm's: every client of this process has the same name.
	kube.ManagedFieldsManager = fieldManager
	cached := memory.NewMemCacheClient(clientset.Discovery())
	return &Client{
		config: config, discovery: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached),
		clientset: clientset, metadata: heads, watching: watching, dynamic: objects,
		digests: lru.New(cachedRevisions), seen: lru.New(cachedRevisions), log: o.Log,
	}, nil
}

// Typed returns the configuration for clients of Kubernetes' own types: they speak
// protobuf, which costs both sides less than JSON, unless the configuration says what
// they speak.
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

// store returns Helm's own driver for the namespace's Secrets.
func (c *Client) store(namespace string) *driver.Secrets {
	return driver.NewSecrets(c.clientset.CoreV1().Secrets(namespace))
}

// kube returns Helm's own Kubernetes client for the namespace, for one rollback.
func (c *Client) kube(ctx context.Context, namespace string) *kube.Client {
	objects := kube.New(getter{client: c, namespace: namespace, config: inOrder(c.config)})
	objects.Namespace = namespace
	objects.Log = c.debug(ctx)
	return objects
}

// getter hands Helm's Kubernetes client the shared discovery and mapper. It
// implements genericclioptions.RESTClientGetter.
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

// debug passes on Helm's log lines.
func (c *Client) debug(ctx context.Context) func(string, ...any) {
	return func(format string, args ...any) {
		if c.log.Enabled(ctx, slog.LevelDebug) {
			c.log.DebugContext(ctx, "helm says", "reason", strings.TrimSpace(fmt.Sprintf(format, args...)))
		}
	}
}
