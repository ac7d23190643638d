package bench

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
)

// The release that is rolled back: the number of its revisions, the size of a stored one
// in bytes, and the number of its ConfigMaps, besides a Service, a Deployment and an
// Ingress.
const (
	bigRevisions = 10
	storedBytes  = 300_000
	// chartBytes become storedBytes: base64 in JSON, compressed, and base64 again.
	chartBytes = 890_000
	configMaps = 20
	rollbacks  = 10
)

// BenchmarkRollback measures Helm's part of a rollback, without waiting for pods: that of
// backout and that of the plain SDK, on two releases that differ only in their namespaces.
// Both have read the API server's discovery before, and neither has a client-side rate
// limit. backout's preflight is measured separately.
func BenchmarkRollback(b *testing.B) {
	s := open(b)
	helmClient, err := helm.New(helm.Options{Config: s.stage.Sandbox.RESTConfig(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if err := helmClient.Warm(b.Context()); err != nil {
		b.Fatal(err)
	}
	sdk, err := newPlain(s.stage.Sandbox.RESTConfig())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var bare, ours, checks samples
		for i := range rollbacks + 1 {
			one, other, check := s.pair(b, sdk, helmClient, i)
			if i == 0 {
				continue // a warm-up
			}
			bare, ours, checks = append(bare, one), append(ours, other), append(checks, check)
		}
		compare(b, fmt.Sprintf("Helm's part of a rollback, %d revisions of %d KB", bigRevisions, storedBytes/1000), bare, ours, goal{ratio: 0.6})
		results.add(row{what: "the preflight before it", backout: checks.text(), bare: [2]string{"-", "-"}, ratio: "-"})
	}
}

// pair measures one rollback of each kind, alternately in both orders, and backout's
// preflight.
func (s *site) pair(b *testing.B, sdk plain, helmClient *helm.Client, i int) (bare, ours, check time.Duration) {
	b.Helper()
	ctx := b.Context()
	keys := map[string]rollback.Key{}
	for _, side := range []string{"plain", "guarded"} {
		k := rollback.Key{Namespace: fmt.Sprintf("%s-%d", side, i), Release: "big"}
		keys[side] = k
		s.spaces(b, k.Namespace)
		if err := s.big(k, sdk); err != nil {
			b.Fatal(err)
		}
	}
	plainly := func() {
		began := time.Now()
		if err := sdk.rollBack(keys["plain"], bigRevisions-1); err != nil {
			b.Fatal(err)
		}
		bare = time.Since(began)
	}
	guarded := func() {
		history, err := helmClient.History(ctx, keys["guarded"], rollback.Stored)
		if err != nil {
			b.Fatal(err)
		}
		p := rollback.Plan{
			Key: keys["guarded"], Suspect: history.Newest(), Newest: history.Newest(),
			Target: bigRevisions - 1, HookTimeout: time.Minute,
		}
		began := time.Now()
		if _, err := helmClient.Preflight(ctx, p); err != nil {
			b.Fatal(err)
		}
		check = time.Since(began)
		began = time.Now()
		if _, err := helmClient.RollBack(ctx, p); err != nil {
			b.Fatal(err)
		}
		ours = time.Since(began)
	}
	if i%2 == 0 {
		plainly()
		guarded()
	} else {
		guarded()
		plainly()
	}
	for _, k := range keys {
		if err := s.client.CoreV1().Secrets(k.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	return bare, ours, check
}

// big stores the large release and creates the objects of its newest revision.
func (s *site) big(k rollback.Key, sdk plain) error {
	for number := 1; number <= bigRevisions; number++ {
		r := revision{key: k, number: number, status: release.StatusSuperseded, chart: chartBytes, manifest: large(k.Release, number)}
		if number == bigRevisions {
			r.status = release.StatusDeployed
		}
		if err := s.store(r); err != nil {
			return err
		}
	}
	client := sdk.client(k.Namespace)
	objects, err := client.Build(strings.NewReader(large(k.Release, bigRevisions)), false)
	if err != nil {
		return err
	}
	_, err = client.Create(objects)
	return err
}

// large is the manifest of the large release: the canary track of a small one with zero
// replicas, and ConfigMaps that change with every revision.
func large(name string, number int) string {
	tracks := strings.Split(shop(name, number), "---\n")
	text := strings.Join(tracks[len(tracks)-3:], "---\n")
	text = strings.Replace(text, "  selector: {matchLabels", "  replicas: 0\n  selector: {matchLabels", 1)
	for i := range configMaps {
		text += fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s-%d}\ndata: {revision: \"%d\"}\n", name, i, number)
	}
	return text
}

// plain uses Helm's SDK as its documentation shows, except that it keeps the discovery
// between actions.
type plain struct {
	config    *rest.Config
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
}

func newPlain(config *rest.Config) (plain, error) {
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return plain{}, err
	}
	cached := memory.NewMemCacheClient(found)
	if _, _, err := cached.ServerGroupsAndResources(); err != nil {
		return plain{}, err
	}
	return plain{config: config, discovery: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached)}, nil
}

func (p plain) client(namespace string) *kube.Client {
	client := kube.New(p)
	client.Namespace = namespace
	return client
}

func (p plain) rollBack(k rollback.Key, target int) error {
	client := p.client(k.Namespace)
	secrets, err := client.Factory.KubernetesClientSet()
	if err != nil {
		return err
	}
	run := action.NewRollback(&action.Configuration{
		RESTClientGetter: p, Releases: storage.Init(driver.NewSecrets(secrets.CoreV1().Secrets(k.Namespace))),
		KubeClient: client, Log: func(string, ...any) {},
	})
	run.Version, run.Timeout = target, time.Minute
	return run.Run(k.Release)
}

// ToRESTConfig returns a copy, because kubectl's factory changes the configuration.
func (p plain) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(p.config), nil }

// ToDiscoveryClient returns the shared client.
func (p plain) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return p.discovery, nil
}

// ToRESTMapper returns the shared mapper.
func (p plain) ToRESTMapper() (meta.RESTMapper, error) { return p.mapper, nil }

// ToRawKubeConfigLoader returns an empty configuration: only the default namespace is read
// from it.
func (p plain) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), &clientcmd.ConfigOverrides{})
}
