// Package router_test tests the sandbox's router with real Ingresses, HTTPRoutes and EndpointSlices.
package router_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

// role is the environment variable that makes the test binary a program that runs inside a sandbox.
const role = "ROUTER_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, serveName())
	os.Exit(1)
}

// serveName answers every request with its own NAME, at LISTEN.
func serveName() error {
	return http.ListenAndServe(os.Getenv("LISTEN"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, os.Getenv("NAME"))
	}))
}

// shop has two Services without selectors, shop and shop-canary, whose only endpoints are two programs, and the router.
type shop struct {
	sandbox *sandbox.Sandbox
	client  kubernetes.Interface
	custom  dynamic.Interface
	url     string
	http    *http.Client
	// answered is the number of requests that count has sent and got an answer to.
	answered atomic.Int64
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := sandbox.Start(t)
	client, err := kubernetes.NewForConfig(s.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	custom, err := dynamic.NewForConfig(s.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	url, err := s.RouterURL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	shop := &shop{
		sandbox: s, client: client, custom: custom, url: url,
		http: &http.Client{Transport: transport, Timeout: 10 * time.Second},
	}
	for i, name := range []string{"shop", "shop-canary"} {
		port := 8081 + i
		shop.run(t, name, port)
		shop.addService(t, name, port)
	}
	return shop
}

// run starts a program that answers with its name.
func (s *shop) run(t *testing.T, name string, port int) *sandbox.Child {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.sandbox.Run(t.Context(), sandbox.Process{
		Name: name, Path: path,
		Env: []string{role + "=name", "NAME=" + name, fmt.Sprintf("LISTEN=%s:%d", sandbox.InnerAddress, port)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually repeats the check until it returns no error, and fails the test with the last one after 30 seconds.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for err := check(); err != nil; err = check() {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 seconds: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// addService adds a Service and its endpoint, which is a program instead of a pod.
func (s *shop) addService(t *testing.T, name string, port int) {
	t.Helper()
	_, err := s.client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.addSlice(t, name, name, port)
}

// addSlice adds a ready endpoint to a Service.
func (s *shop) addSlice(t *testing.T, service, name string, port int) {
	t.Helper()
	portName, number, ready := "http", int32(port), true
	_, err := s.client.DiscoveryV1().EndpointSlices("default").Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &number}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{sandbox.InnerAddress},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// setReady sets whether a Service's endpoint is ready.
func (s *shop) setReady(t *testing.T, name string, ready bool) {
	t.Helper()
	s.patch(t, func(ctx context.Context, patch []byte) error {
		_, err := s.client.DiscoveryV1().EndpointSlices("default").Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{})
		return err
	}, fmt.Sprintf(`[{"op":"replace","path":"/endpoints/0/conditions/ready","value":%t}]`, ready))
}

func (s *shop) patch(t *testing.T, do func(context.Context, []byte) error, patch string) {
	t.Helper()
	if err := do(t.Context(), []byte(patch)); err != nil {
		t.Fatal(err)
	}
}

// addIngress adds an Ingress for host shop.local to the Service of its own name.
func (s *shop) addIngress(t *testing.T, name string, annotations map[string]string) {
	t.Helper()
	class, prefix := "nginx", networkingv1.PathTypePrefix
	_, err := s.client.NetworkingV1().Ingresses("default").Create(t.Context(), &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec: networkingv1.IngressSpec{
			IngressClassName: &class,
			Rules: []networkingv1.IngressRule{{
				Host: "shop.local",
				IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
					Path: "/", PathType: &prefix,
					Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
						Name: name, Port: networkingv1.ServiceBackendPort{Name: "http"},
					}},
				}}}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// annotate sets annotations of the canary Ingress, and removes those that are "".
func (s *shop) annotate(t *testing.T, annotations map[string]string) {
	t.Helper()
	var members []string
	for name, value := range annotations {
		v := "null"
		if value != "" {
			v = strconv.Quote(value)
		}
		members = append(members, strconv.Quote("nginx.ingress.kubernetes.io/"+name)+":"+v)
	}
	s.patch(t, func(ctx context.Context, patch []byte) error {
		_, err := s.client.NetworkingV1().Ingresses("default").Patch(ctx, "shop-canary", types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	}, `{"metadata":{"annotations":{`+strings.Join(members, ",")+`}}}`)
}

// get requests a page and returns the answer's text, or its status if that is not 200.
func (s *shop) get(host string, with ...func(*http.Request)) (string, error) {
	q, err := http.NewRequest(http.MethodGet, s.url, nil)
	if err != nil {
		return "", err
	}
	q.Host = host
	for _, w := range with {
		w(q)
	}
	r, err := s.http.Do(q)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	if r.StatusCode != http.StatusOK {
		return strconv.Itoa(r.StatusCode), nil
	}
	return string(b), nil
}

// count sends n requests, eight at once, and counts the answers.
func (s *shop) count(t *testing.T, host string, n int) map[string]int {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := map[string]int{}
	for i := range 8 {
		wg.Go(func() {
			for range n/8 + min(1, max(0, n%8-i)) {
				answer, err := s.get(host)
				if err != nil {
					answer = err.Error()
				}
				s.answered.Add(1)
				mu.Lock()
				answers[answer]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return answers
}

// awaitOnly waits until the Service alone answers. While both answer, the first answer of
// either one does not say which weights it was sent by.
func (s *shop) awaitOnly(t *testing.T, service string) {
	t.Helper()
	eventually(t, func() error {
		if got := s.count(t, "shop.local", 20); got[service] != 20 {
			return fmt.Errorf("the answers were %v, want those of %s only", got, service)
		}
		return nil
	})
}

// awaitAnswer sends requests until it gets the wanted answer, and returns how long that took. It waits for a change only if no
// request got that answer before.
func (s *shop) awaitAnswer(t *testing.T, host, want string, with ...func(*http.Request)) time.Duration {
	t.Helper()
	began := time.Now()
	deadline := began.Add(30 * time.Second)
	for {
		answer, err := s.get(host, with...)
		if err == nil && answer == want {
			return time.Since(began)
		}
		if time.Now().After(deadline) {
			t.Fatalf("after 30 seconds the answer is still %q, %v; want %q", answer, err, want)
		}
	}
}

func wantCount(t *testing.T, got map[string]int, want map[string]int) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("the answers were %v, want exactly %v", got, want)
	}
}

func TestRouterServesIngresses(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	if answer, err := s.get("shop.local"); err != nil || answer != "404" && answer != "503" {
		t.Errorf("without a route the answer is 404, or 503 while the router starts; it was %q, %v", answer, err)
	}
	s.addIngress(t, "shop", nil)
	s.awaitAnswer(t, "shop.local", "shop")
	// Without a weight the canary gets nothing.
	s.addIngress(t, "shop-canary", map[string]string{"nginx.ingress.kubernetes.io/canary": "true"})
	always := func(q *http.Request) { q.Header.Set("X-Canary", "always") }

	t.Run("a weight of 20 is exactly 200 of 1000", func(t *testing.T) {
		s.annotate(t, map[string]string{"canary-by-header": "X-Canary", "canary-weight": "20"})
		s.awaitAnswer(t, "shop.local", "shop-canary", always)
		wantCount(t, s.count(t, "shop.local", 1000), map[string]int{"shop": 800, "shop-canary": 200})
		s.annotate(t, map[string]string{"canary-by-header": ""})
	})
	t.Run("a total of 1000 allows smaller shares", func(t *testing.T) {
		s.annotate(t, map[string]string{"canary-weight-total": "1000", "canary-weight": "1000"})
		s.awaitOnly(t, "shop-canary")
		s.annotate(t, map[string]string{"canary-weight": "5"})
		s.awaitAnswer(t, "shop.local", "shop")
		wantCount(t, s.count(t, "shop.local", 1000), map[string]int{"shop": 995, "shop-canary": 5})
	})
	t.Run("a new weight takes effect at once", func(t *testing.T) {
		// A weight of 5 of 1000 looks like one of 0 for as many as 200 requests; one of 100 does not.
		s.annotate(t, map[string]string{"canary-weight-total": "", "canary-weight": "100"})
		s.awaitOnly(t, "shop-canary")
		s.annotate(t, map[string]string{"canary-weight": "0"})
		s.awaitAnswer(t, "shop.local", "shop")
		for range 5 {
			s.annotate(t, map[string]string{"canary-weight": "100"})
			up := s.awaitAnswer(t, "shop.local", "shop-canary")
			s.annotate(t, map[string]string{"canary-weight": "0"})
			down := s.awaitAnswer(t, "shop.local", "shop")
			t.Logf("from the API server's answer to the first request by the new weight: 0 to 100 %s, 100 to 0 %s", up, down)
			wantCount(t, s.count(t, "shop.local", 200), map[string]int{"shop": 200})
		}
	})
	t.Run("a header overrides a cookie, and both override the weight", func(t *testing.T) { s.precedence(t) })
	t.Run("a canary without ready pods gets nothing", func(t *testing.T) {
		s.annotate(t, map[string]string{"canary-weight": "100"})
		s.awaitAnswer(t, "shop.local", "shop-canary")
		s.setReady(t, "shop-canary", false)
		s.awaitAnswer(t, "shop.local", "shop")
		s.setReady(t, "shop-canary", true)
		s.awaitAnswer(t, "shop.local", "shop-canary")
		s.annotate(t, map[string]string{"canary-weight": "0"})
		s.awaitAnswer(t, "shop.local", "shop")
	})
	t.Run("no request fails when a pod dies", func(t *testing.T) { s.podDies(t) })
	t.Run("a stable Service without ready pods is 503, an unknown host 404", func(t *testing.T) {
		s.setReady(t, "shop", false)
		s.awaitAnswer(t, "shop.local", "503")
		s.setReady(t, "shop", true)
		s.awaitAnswer(t, "shop.local", "shop")
		if answer, err := s.get("elsewhere.local"); answer != "404" {
			t.Errorf("the answer for an unknown host was %q, %v", answer, err)
		}
	})
}

// podDies kills one of two pods of the stable Service under load, while it is still ready for the API server.
func (s *shop) podDies(t *testing.T) {
	second := s.run(t, "shop-2", 8083)
	s.addSlice(t, "shop", "shop-2", 8083)
	s.awaitAnswer(t, "shop.local", "shop-2")
	killed := make(chan error, 1)
	s.answered.Store(0)
	go func() {
		for s.answered.Load() < 200 {
			time.Sleep(time.Millisecond)
		}
		killed <- second.Signal(syscall.SIGKILL)
	}()
	answers := s.count(t, "shop.local", 3000)
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	t.Log(answers)
	if answers["shop"]+answers["shop-2"] != 3000 || answers["shop-2"] == 0 || answers["shop"] <= answers["shop-2"] {
		t.Errorf("one of the two must answer each request, and the one that lives most of them: %v", answers)
	}
	post := func(q *http.Request) {
		q.Method, q.Body, q.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader("plum")), 4
	}
	for range 4 {
		if answer, err := s.get("shop.local", post); answer != "shop" {
			t.Errorf("a POST whose connection is refused must be sent to the other pod: %q, %v", answer, err)
		}
	}
	if err := s.client.DiscoveryV1().EndpointSlices("default").Delete(t.Context(), "shop-2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) precedence(t *testing.T) {
	s.annotate(t, map[string]string{"canary-weight": "100", "canary-by-header": "X-Canary", "canary-by-cookie": "canary"})
	header := func(v string) func(*http.Request) { return func(q *http.Request) { q.Header.Set("X-Canary", v) } }
	cookie := func(v string) func(*http.Request) {
		return func(q *http.Request) { q.AddCookie(&http.Cookie{Name: "canary", Value: v}) }
	}
	s.awaitAnswer(t, "shop.local", "shop-canary", header("always")) // with only the weight of 0 it would not be
	expect := func(what, want string, with ...func(*http.Request)) {
		t.Helper()
		if answer, err := s.get("shop.local", with...); answer != want {
			t.Errorf("%s: the answer came from %q, %v; want %s", what, answer, err, want)
		}
	}
	expect("weight 100", "shop-canary")
	expect("weight 100, cookie never", "shop", cookie("never"))
	expect("weight 100, cookie never, header always", "shop-canary", cookie("never"), header("always"))
	expect("weight 100, cookie always, header never", "shop", cookie("always"), header("never"))
	expect("weight 100, cookie never, header with another value", "shop", cookie("never"), header("perhaps"))

	s.annotate(t, map[string]string{"canary-weight": "0", "canary-by-header-value": "plum"})
	s.awaitAnswer(t, "shop.local", "shop", header("always")) // a header value that does not match; before, it did
	expect("weight 0", "shop")
	expect("weight 0, a header value that matches", "shop-canary", header("plum"))
	expect("weight 0, cookie always", "shop-canary", cookie("always"))
	s.annotate(t, map[string]string{"canary-by-header": "", "canary-by-header-value": "", "canary-by-cookie": ""})
	s.awaitAnswer(t, "shop.local", "shop", cookie("always"))
}

const shopRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: default}
spec:
  parentRefs: [{name: sandbox, namespace: default}]
  hostnames: [shop.local]
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs:
        - {name: shop, port: 80, weight: 80}
        - {name: shop-canary, port: 80, weight: 20}
`

func TestRouterServesHTTPRoutes(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	began := time.Now()
	for range 2 {
		if err := s.sandbox.GatewayAPI(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("installed the Gateway API after %s", time.Since(began))
	}
	routes := s.custom.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}).Namespace("default")
	var route unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(shopRoute), &route.Object); err != nil {
		t.Fatal(err)
	}
	if _, err := routes.Create(t.Context(), &route, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	patch := func(operations string) {
		t.Helper()
		s.patch(t, func(ctx context.Context, patch []byte) error {
			_, err := routes.Patch(ctx, "shop", types.JSONPatchType, patch, metav1.PatchOptions{})
			return err
		}, operations)
	}
	weigh := func(stable, canary int) {
		t.Helper()
		patch(fmt.Sprintf(`[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":%d},
			{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":%d}]`, stable, canary))
	}
	s.awaitAnswer(t, "shop.local", "shop")
	s.awaitAnswer(t, "shop.local", "shop-canary")

	t.Run("weights of 80 and 20 are exactly 800 and 200 of 1000", func(t *testing.T) {
		wantCount(t, s.count(t, "shop.local", 1000), map[string]int{"shop": 800, "shop-canary": 200})
	})
	t.Run("its status says that it is accepted", func(t *testing.T) {
		eventually(t, func() error { return routeSays(t.Context(), routes, "Accepted=True ResolvedRefs=True") })
	})
	t.Run("a new weight takes effect at once", func(t *testing.T) {
		weigh(100, 0)
		s.awaitOnly(t, "shop")
		for range 5 {
			weigh(0, 100)
			up := s.awaitAnswer(t, "shop.local", "shop-canary")
			weigh(100, 0)
			down := s.awaitAnswer(t, "shop.local", "shop")
			t.Logf("from the API server's answer to the first request by the new weight: 0 to 100 %s, 100 to 0 %s", up, down)
			wantCount(t, s.count(t, "shop.local", 200), map[string]int{"shop": 200})
		}
	})
	t.Run("a share without ready pods is 503", func(t *testing.T) {
		weigh(0, 100)
		s.setReady(t, "shop-canary", false)
		s.awaitAnswer(t, "shop.local", "503")
		s.setReady(t, "shop-canary", true)
		s.awaitAnswer(t, "shop.local", "shop-canary")
	})
	t.Run("a sum of zero, and a Service that does not exist, are 500", func(t *testing.T) {
		weigh(0, 0)
		s.awaitAnswer(t, "shop.local", "500")
		weigh(0, 100)
		s.awaitAnswer(t, "shop.local", "shop-canary")
		patch(`[{"op":"replace","path":"/spec/rules/0/backendRefs/1/name","value":"missing"}]`)
		s.awaitAnswer(t, "shop.local", "500")
		eventually(t, func() error { return routeSays(t.Context(), routes, "Accepted=True ResolvedRefs=False") })
	})
	t.Run("a filter is not accepted", func(t *testing.T) {
		patch(`[{"op":"add","path":"/spec/rules/0/filters","value":[{"type":"RequestHeaderModifier","requestHeaderModifier":{"remove":["X-A"]}}]}]`)
		eventually(t, func() error { return routeSays(t.Context(), routes, "Accepted=False ResolvedRefs=False") })
		s.awaitAnswer(t, "shop.local", "404")
	})
}

// routeSays returns nil if the router's status for the newest generation of the route is this one.
func routeSays(ctx context.Context, routes dynamic.ResourceInterface, want string) error {
	route, err := routes.Get(ctx, "shop", metav1.GetOptions{})
	if err != nil {
		return err
	}
	parents, _, _ := unstructured.NestedSlice(route.Object, "status", "parents")
	var says []string
	for _, p := range parents {
		conditions, _, _ := unstructured.NestedSlice(p.(map[string]any), "conditions")
		for _, c := range conditions {
			c := c.(map[string]any)
			if c["observedGeneration"] != route.GetGeneration() {
				return errors.New("the status is of an older generation")
			}
			says = append(says, fmt.Sprintf("%s=%s", c["type"], c["status"]))
		}
	}
	if got := strings.Join(says, " "); got != want {
		return fmt.Errorf("the status is %q, want %q", got, want)
	}
	return nil
}
