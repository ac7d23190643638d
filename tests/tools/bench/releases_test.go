package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	helmtime "helm.sh/helm/v3/pkg/time"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/stage"
)

// fewKB is the size of a small release's chart in bytes; a stored revision has half of
// that.
const fewKB = 10_000

// revision is a revision of a release, as Helm stores it.
type revision struct {
	key      rollback.Key
	number   int
	status   release.Status
	manifest string
	// chart is the size of the chart's text in bytes.
	chart int
}

func (r revision) secret() string {
	return fmt.Sprintf("sh.helm.release.v1.%s.v%d", r.key.Release, r.number)
}

func (r revision) stored() *release.Release {
	now := helmtime.Now()
	return &release.Release{
		Name: r.key.Release, Namespace: r.key.Namespace, Version: r.number, Manifest: r.manifest,
		Info: &release.Info{
			FirstDeployed: now, LastDeployed: now, Status: r.status, Description: "Upgrade complete",
		},
		Chart: &chart.Chart{
			Metadata: &chart.Metadata{APIVersion: chart.APIVersionV2, Name: "shop", Version: "1.0.0"},
			Files:    []*chart.File{{Name: "templates/notes.txt", Data: prose(r.chart, r.number)}},
		},
	}
}

// vocabulary is the number of words in prose: few enough that it compresses as well as
// charts do.
const vocabulary = 1000

// prose returns text of that size in bytes, always the same for a seed.
func prose(size, seed int) []byte {
	dice := rand.New(rand.NewPCG(1, uint64(seed)))
	text := make([]byte, 0, size+16)
	for len(text) < size {
		word := dice.IntN(vocabulary)
		text = fmt.Appendf(text, "%s%d ", []string{"labels: ", "image", "- name", "{{ .Values", "selector"}[word%5], word)
	}
	return text[:size]
}

// store writes the revision with Helm's own driver, as if Helm had deployed it now.
func (s *site) store(r revision) error {
	if err := driver.NewSecrets(s.client.CoreV1().Secrets(r.key.Namespace)).Create(r.secret(), r.stored()); err != nil {
		return fmt.Errorf("store revision %d of %s: %w", r.number, r.key, err)
	}
	return nil
}

// history stores n small revisions, of which the newest is deployed. Each has a canary with
// a version of its own.
func (s *site) history(k rollback.Key, n int) error {
	for number := 1; number <= n; number++ {
		r := revision{key: k, number: number, status: release.StatusSuperseded, manifest: shop(k.Release, number), chart: fewKB}
		if number == n {
			r.status = release.StatusDeployed
		}
		if err := s.store(r); err != nil {
			return err
		}
	}
	return nil
}

// upgrade does to Helm's Secrets what `helm upgrade` does: the next revision is
// deployed, the one before superseded, and the oldest of more than keep deleted.
func (s *site) upgrade(ctx context.Context, k rollback.Key, next, keep int) error {
	last := revision{key: k, number: next - 1, status: release.StatusSuperseded, manifest: shop(k.Release, next-1), chart: fewKB}
	if err := driver.NewSecrets(s.client.CoreV1().Secrets(k.Namespace)).Update(last.secret(), last.stored()); err != nil {
		return fmt.Errorf("supersede revision %d of %s: %w", last.number, k, err)
	}
	if next > keep {
		oldest := revision{key: k, number: next - keep}
		if err := s.client.CoreV1().Secrets(k.Namespace).Delete(ctx, oldest.secret(), metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	return s.store(revision{key: k, number: next, status: release.StatusDeployed, manifest: shop(k.Release, next), chart: fewKB})
}

// version returns the version label of a revision's canary.
func version(number int) map[string]string {
	return map[string]string{"version": fmt.Sprintf("v%d", number)}
}

// percent is the canary's share of a shop.
const percent = "20"

// shop is the manifest of a small release with a canary track.
func shop(name string, number int) string {
	const track = `---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: RELEASE, track: TRACK}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: RELEASE, track: TRACK}}
  template:
    metadata: {labels: {app: RELEASE, track: TRACK}}
    spec: {containers: [{name: web, image: "shop:VERSION"}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: NAME, labels: {app: RELEASE}, annotations: {ANNOTATIONS}}
spec:
  ingressClassName: nginx
  rules: [{host: RELEASE.localhost, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: NAME, port: {number: 80}}}}]}}]
`
	replace := func(more ...string) string {
		return strings.NewReplacer(append(more, "RELEASE", name)...).Replace(track)
	}
	return replace("NAME", name, "TRACK", "stable", "VERSION", "v0", "ANNOTATIONS", "") +
		replace("NAME", name+"-canary", "TRACK", "canary", "VERSION", fmt.Sprintf("v%d", number),
			"ANNOTATIONS", `nginx.ingress.kubernetes.io/canary: "true", `+stage.WeightAnnotation+`: "`+percent+`"`)
}

// route creates the live objects that a shed reads: both Ingresses, and the endpoint of the
// stable Service. No pod runs.
func (s *site) route(ctx context.Context, k rollback.Key) error {
	yes, port, protocol := true, int32(80), corev1.ProtocolTCP
	_, err := s.client.DiscoveryV1().EndpointSlices(k.Namespace).Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: k.Release, Labels: map[string]string{
			"app": k.Release, discoveryv1.LabelServiceName: k.Release, discoveryv1.LabelManagedBy: "bench",
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.255.9"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}}},
		Ports:       []discoveryv1.EndpointPort{{Port: &port, Protocol: &protocol}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for document := range strings.SplitSeq(shop(k.Release, 1), "---\n") {
		var ingress networkingv1.Ingress
		if err := yaml.Unmarshal([]byte(document), &ingress); err != nil {
			return err
		}
		if ingress.Kind != "Ingress" {
			continue
		}
		if _, err := s.client.NetworkingV1().Ingresses(k.Namespace).Create(ctx, &ingress, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the release, its routes and its records.
func (s *site) remove(ctx context.Context, k rollback.Key) error {
	now, none := metav1.DeleteOptions{}, metav1.ListOptions{}
	with := func(selector string) metav1.ListOptions { o := none; o.LabelSelector = selector; return o }
	return errors.Join(
		s.client.CoreV1().Secrets(k.Namespace).DeleteCollection(ctx, now, with("owner=helm,name="+k.Release)),
		s.forget(ctx, k),
		s.client.NetworkingV1().Ingresses(k.Namespace).DeleteCollection(ctx, now, with("app="+k.Release)),
		s.client.DiscoveryV1().EndpointSlices(k.Namespace).DeleteCollection(ctx, now, with("app="+k.Release)),
	)
}

// forget removes backout's records about the release.
func (s *site) forget(ctx context.Context, k rollback.Key) error {
	return s.client.CoreV1().ConfigMaps(k.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{},
		metav1.ListOptions{LabelSelector: "backout.dev/release=" + k.Release})
}

// crowd is the number of other releases, crowdSpaces that of their namespaces.
const (
	crowd       = 1000
	crowdSpaces = 10
)

// crowdSpace returns one of the crowd's namespaces.
func crowdSpace(i int) string { return fmt.Sprintf("crowd-%d", i%crowdSpaces) }

// crowdSpaceNames returns all of them.
func crowdSpaceNames() []string {
	var names []string
	for i := range crowdSpaces {
		names = append(names, crowdSpace(i))
	}
	return names
}

// crowded returns a release of the crowd.
func crowded(i int) rollback.Key {
	return rollback.Key{Namespace: crowdSpace(i), Release: fmt.Sprintf("other-%d", i)}
}

// gather stores the crowd's releases from one number up to another, with one revision
// each.
func (s *site) gather(from, to int) error {
	return spread(from, to, func(i int) error { return s.history(crowded(i), 1) })
}

// spread calls do for each number, a few at a time, and returns all errors.
func spread(from, to int, do func(i int) error) error {
	var workers sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	numbers := make(chan int)
	for range 8 {
		workers.Go(func() {
			for i := range numbers {
				if err := do(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for i := from; i < to; i++ {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
	return errors.Join(errs...)
}

// weightPatch is the bare operation: a merge patch of only the weight.
func weightPatch(weight string) []byte {
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{stage.WeightAnnotation: weight}}})
	if err != nil {
		panic(err) // it is made of strings
	}
	return text
}

// pause lets pending work finish.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
