package rules_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

// A canary turns bad. The sandbox's Prometheus has discovered it through the API server and evaluates the shipped rule file; its alert
// reaches a webhook through Alertmanager.
func TestAnAlertOfTheRuleFileReachesAWebhook(t *testing.T) {
	t.Parallel()
	s := sandbox.Start(t)
	client, err := kubernetes.NewForConfig(s.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	start(t, s, "webhook", role+"=webhook")
	addTrack(t, s, client, track{name: "shop", track: "stable", version: "v2", port: 8081})
	addTrack(t, s, client, track{name: "shop-canary", track: "canary", version: "v3", port: 8082})

	alertmanager, err := s.Alertmanager(t.Context(), sandbox.AlertmanagerOptions{WebhookURL: "http://" + webhookAddress})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs(filepath.Join("..", "..", "..", "rules", "canary.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	prometheus, err := s.Prometheus(t.Context(), sandbox.PrometheusOptions{
		RuleFiles:     []string{rules},
		Alertmanagers: []*sandbox.Alertmanager{alertmanager},
		Targets:       map[string][]string{"itself": {sandbox.InnerAddress + ":9090"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Prometheus was ready after %s", time.Since(began))

	eventually(t, func() error { return discovered(t, prometheus) })
	t.Logf("both tracks were scraped after %s", time.Since(began))
	eventually(t, func() error { return holds(t, prometheus, `track:http_requests:seen1m{track="canary"} > 100`) })
	if alerts, err := prometheus.Alerts(t.Context()); err != nil || len(alerts) > 0 {
		t.Errorf("no alert may fire for a canary as good as the stable track: %v, %v", alerts, err)
	}

	turnBad(t, s, sandbox.InnerAddress+":8082")
	bad := time.Now()
	eventually(t, func() error {
		return holds(t, prometheus, `ALERTS{alertname="CanaryErrorRatio", alertstate="firing"}`)
	})
	t.Logf("the alert fired %s after the canary turned bad", time.Since(bad))
	var all []delivery
	eventually(t, func() (err error) {
		if all, err = deliveries(t, s); err == nil && len(all) == 0 {
			err = errors.New("the webhook received nothing")
		}
		return err
	})
	t.Logf("the webhook was called %s after the canary turned bad", all[0].At.Sub(bad))
	checkPayload(t, all[0].Body)
}

// start runs the test binary inside in a role.
func start(t *testing.T, s *sandbox.Sandbox, name string, env ...string) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context(), sandbox.Process{Name: name, Path: path, Env: env}); err != nil {
		t.Fatal(err)
	}
}

// track is one track of the release shop.
type track struct {
	name, track, version string
	port                 int
}

// addTrack adds a Service, a Pod and the EndpointSlice between them, with the labels of the chart. A program acts as the pod, because
// Prometheus knows pods only from the API server.
func addTrack(t *testing.T, s *sandbox.Sandbox, client kubernetes.Interface, k track) {
	t.Helper()
	start(t, s, k.name, role+"=shop", "VERSION="+k.version, fmt.Sprintf("LISTEN=%s:%d", sandbox.InnerAddress, k.port))
	labels := map[string]string{
		"app.kubernetes.io/name": "shop", "app.kubernetes.io/instance": "shop", "app.kubernetes.io/version": k.version, "track": k.track,
	}
	portName, port := "http", int32(k.port)
	_, errService := client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: k.name, Labels: labels},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: portName, Port: 80}}},
	}, metav1.CreateOptions{})
	_, errPod := client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: k.name + "-0", Labels: labels},
		Spec: corev1.PodSpec{
			SchedulingGates: []corev1.PodSchedulingGate{{Name: "example.com/never"}},
			Containers: []corev1.Container{{
				Name: "storefront", Image: "storefront", Ports: []corev1.ContainerPort{{Name: portName, ContainerPort: port}},
			}},
		},
	}, metav1.CreateOptions{})
	slice := metav1.ObjectMeta{Name: k.name, Labels: map[string]string{discoveryv1.LabelServiceName: k.name}}
	maps.Copy(slice.Labels, labels)
	_, errSlice := client.DiscoveryV1().EndpointSlices("default").Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  slice,
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{sandbox.InnerAddress},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: k.name + "-0"},
		}},
	}, metav1.CreateOptions{})
	if err := errors.Join(errService, errPod, errSlice); err != nil {
		t.Fatal(err)
	}
}

// discovered returns nil when both tracks are scraped, each with the labels that the rules need.
func discovered(t *testing.T, p *sandbox.Prometheus) error {
	series, err := p.Query(t.Context(), `http_requests_total{code="200"}`)
	if err != nil {
		return err
	}
	if len(series) != 2 {
		return fmt.Errorf("%d series, want one for each track: %v", len(series), series)
	}
	for _, x := range series {
		want := model.Metric{
			"__name__": "http_requests_total", "code": "200", "method": "get", "endpoint": "http", "container": "storefront",
			"namespace": "default", "release": "shop", "app": "shop", "track": "stable", "version": "v2", "service": "shop", "job": "shop",
			"pod": "shop-0", "instance": sandbox.InnerAddress + ":8081",
		}
		if x.Metric["track"] == "canary" {
			maps.Copy(want, model.Metric{
				"track": "canary", "version": "v3", "service": "shop-canary", "job": "shop-canary",
				"pod": "shop-canary-0", "instance": sandbox.InnerAddress + ":8082",
			})
		}
		if !x.Metric.Equal(want) {
			return fmt.Errorf("the labels are %v, want %v", x.Metric, want)
		}
	}
	return holds(t, p, `up{job="itself"} == 1`)
}

// holds returns nil if an expression has a value.
func holds(t *testing.T, p *sandbox.Prometheus, expr string) error {
	found, err := p.Query(t.Context(), expr)
	if err == nil && len(found) == 0 {
		err = errors.New("no value: " + expr)
	}
	return err
}

func turnBad(t *testing.T, s *sandbox.Sandbox, address string) {
	t.Helper()
	host, err := s.Forward(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post("http://"+host, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

// deliveries returns the posts to the webhook.
func deliveries(t *testing.T, s *sandbox.Sandbox) ([]delivery, error) {
	host, err := s.Forward(t.Context(), webhookAddress)
	if err != nil {
		return nil, err
	}
	r, err := http.Get("http://" + host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }()
	var all []delivery
	return all, json.NewDecoder(r.Body).Decode(&all)
}

func checkPayload(t *testing.T, body []byte) {
	t.Helper()
	var payload struct {
		Alerts []struct {
			Status              string
			Labels, Annotations map[string]string
		}
	}
	if err := json.Unmarshal(body, &payload); err != nil || len(payload.Alerts) != 1 {
		t.Fatalf("the webhook must receive one alert: %s (%v)", body, err)
	}
	want := map[string]string{
		"alertname": "CanaryErrorRatio", "namespace": "default", "release": "shop", "app": "shop", "version": "v3", "track": "canary",
		"backout": "rollback", "severity": "critical",
	}
	if a := payload.Alerts[0]; a.Status != "firing" || !maps.Equal(a.Labels, want) {
		t.Errorf("the alert is %s with labels %v; want firing, %v", a.Status, a.Labels, want)
	}
	t.Log(payload.Alerts[0].Annotations["description"])
}

// eventually repeats the check until it returns no error, and fails the test with the last one after the time limit.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for err := check(); err != nil; err = check() {
		if time.Now().After(deadline) {
			t.Fatalf("after %s: %v", patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
