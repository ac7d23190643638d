package guide

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// operator does what the Prometheus Operator does with the defaults of kube-prometheus-stack: as soon as it selects a rule, a monitor and a route, it starts Prometheus
// and Alertmanager with them.
type operator struct {
	*stage.Stage
	objects dynamic.Interface
	running bool
}

// own is the name of backout's namespace and release.
const own = "backout"

// prometheusAddress returns Prometheus' address inside the sandbox.
func prometheusAddress() string {
	return net.JoinHostPort(sandbox.InnerAddress, strconv.Itoa(prometheusPort))
}

const prometheusPort = 9190

// definitions returns definitions of the kinds that it reads, without a schema.
func definitions() string {
	var all []string
	for _, k := range [][3]string{{"servicemonitors", "ServiceMonitor", "v1"}, {"prometheusrules", "PrometheusRule", "v1"}, {"alertmanagerconfigs", "AlertmanagerConfig", "v1alpha1"}} {
		all = append(all, fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {plural: %[1]s, kind: %[2]s}
  versions: [{name: %[3]s, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]`, k[0], k[1], k[2]))
	}
	return strings.Join(all, "\n---")
}

// object reads an object of one of these kinds; nil: it does not exist. The test fails if the object lacks the label that kube-prometheus-stack selects by.
func (o *operator) object(ctx context.Context, t *testing.T, version, plural, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	found, err := o.objects.Resource(schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: version, Resource: plural}).
		Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if label := found.GetLabels()["release"]; label != "kube-prometheus-stack" {
		t.Fatalf("%s %s/%s has the label release=%q: kube-prometheus-stack does not select it", found.GetKind(), namespace, name, label)
	}
	return found
}

// reconcile starts Prometheus and Alertmanager as soon as all their objects exist.
func (o *operator) reconcile(ctx context.Context, t *testing.T) {
	t.Helper()
	if o.running {
		return
	}
	rule := o.object(ctx, t, "v1", "prometheusrules", own, own)
	monitor := o.object(ctx, t, "v1", "servicemonitors", stage.Namespace, stage.Release)
	route := o.object(ctx, t, "v1alpha1", "alertmanagerconfigs", stage.Namespace, own)
	if rule == nil || monitor == nil || route == nil {
		return
	}
	o.running = true
	am, err := o.Sandbox.Alertmanager(ctx, o.route(ctx, t, route))
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(rule.Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(o.Sandbox.Dir(), "page.rules.yml")
	if err := os.WriteFile(rules, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = o.Sandbox.Prometheus(ctx, sandbox.PrometheusOptions{
		RuleFiles: []string{rules}, Alertmanagers: []*sandbox.Alertmanager{am}, Port: prometheusPort,
		Targets: map[string][]string{"backout": o.backouts(ctx, t)},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// route returns the options for the only receiver of an AlertmanagerConfig.
func (o *operator) route(ctx context.Context, t *testing.T, config *unstructured.Unstructured) sandbox.AlertmanagerOptions {
	t.Helper()
	type selector struct{ Name, Key string }
	var said struct {
		Receivers []struct {
			WebhookConfigs []struct {
				URL        string
				HTTPConfig struct {
					Authorization struct{ Credentials selector }
				}
			}
		}
	}
	text, err := json.Marshal(config.Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &said); err != nil {
		t.Fatal(err)
	}
	webhook := said.Receivers[0].WebhookConfigs[0]
	from := webhook.HTTPConfig.Authorization.Credentials
	secret, err := o.Client.CoreV1().Secrets(config.GetNamespace()).Get(ctx, from.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(o.Sandbox.Dir(), "page-token")
	if err := os.WriteFile(token, secret.Data[from.Key], 0o600); err != nil {
		t.Fatal(err)
	}
	// The sandbox has no DNS.
	service, err := o.Client.CoreV1().Services(own).Get(ctx, own, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	name := own + "." + own + ".svc"
	if !strings.Contains(webhook.URL, "//"+name+":") {
		t.Fatalf("the route leads to %s, which is not the Service %s", webhook.URL, name)
	}
	return sandbox.AlertmanagerOptions{WebhookURL: strings.Replace(webhook.URL, name, service.Spec.ClusterIP, 1), TokenFile: token}
}

// backouts returns the ops addresses of backout's pods.
func (o *operator) backouts(ctx context.Context, t *testing.T) []string {
	t.Helper()
	pods, err := o.Client.CoreV1().Pods(own).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=receiver"})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range pods.Items {
		all = append(all, net.JoinHostPort(p.Status.PodIP, "9090"))
	}
	return all
}
