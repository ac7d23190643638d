package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/tests/env/monitoring"
	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/stage"
)

// Names in the namespace of backout, Prometheus and Alertmanager.
const (
	backoutName      = "backout"
	prometheusName   = "prometheus"
	alertmanagerName = "alertmanager"
	tokenSecret      = "webhook-token"
	tokenKey         = "token"
)

// The ports of the Services.
const (
	backoutPort      = 8080
	prometheusPort   = 9090
	alertmanagerPort = 9093
)

// logLines is how many lines of a pod's log an error contains.
const logLines = 40

type object = map[string]any

// monitor installs backout from its chart, and the demo's own Prometheus and Alertmanager.
// They reach each other by the addresses of their Services, so that a cluster needs no DNS.
func (v *visit) monitor(ctx context.Context) error {
	if err := v.makeToken(ctx); err != nil {
		return err
	}
	prometheus, err := v.makeService(ctx, prometheusName, prometheusPort)
	if err != nil {
		return err
	}
	alertmanager, err := v.makeService(ctx, alertmanagerName, alertmanagerPort)
	if err != nil {
		return err
	}
	if err := v.install(ctx, backoutName, filepath.Join(v.cluster.Charts(), "backout"), backoutValues(prometheus)); err != nil {
		return err
	}
	service, err := v.cluster.Client.CoreV1().Services(toolsNamespace).Get(ctx, backoutName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the address of backout: %w", err)
	}
	values, err := monitoringValues(alertmanager, address(service, backoutPort))
	if err != nil {
		return err
	}
	root, err := programs.Repository()
	if err != nil {
		return err
	}
	if err := v.install(ctx, "monitoring", filepath.Join(root, "tests", "tools", "demo", "monitoring"), values); err != nil {
		return err
	}
	return stage.AwaitRollout(ctx, v.cluster.Client, toolsNamespace)
}

// makeToken makes the Secret with which Alertmanager posts to backout.
func (v *visit) makeToken(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: tokenSecret}, StringData: map[string]string{tokenKey: rand.Text()}}
	if _, err := v.cluster.Client.CoreV1().Secrets(toolsNamespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make Secret %s: %w", tokenSecret, err)
	}
	return nil
}

// makeService makes the Service of one of the programs, and returns its address.
func (v *visit) makeService(ctx context.Context, name string, port int32) (string, error) {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": name},
		Ports:    []corev1.ServicePort{{Name: "http", Port: port, TargetPort: intstr.FromString("http")}},
	}}
	made, err := v.cluster.Client.CoreV1().Services(toolsNamespace).Create(ctx, service, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("make Service %s: %w", name, err)
	}
	return address(made, port), nil
}

func address(service *corev1.Service, port int32) string {
	return net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(port)))
}

// install installs a chart in the namespace of backout. It does not wait for pods.
func (v *visit) install(ctx context.Context, release, chart string, values object) error {
	text, err := yaml.Marshal(values)
	if err != nil {
		return fmt.Errorf("encode the values of %s: %w", release, err)
	}
	file := filepath.Join(v.files, release+".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("write the values of %s: %w", release, err)
	}
	_, err = v.cluster.Helm(ctx, "install", release, chart, "--namespace", toolsNamespace, "--values", file)
	return err
}

// backoutValues are the values of the chart backout. They leave out all that other programs
// of the cluster would read: rules, monitors and dashboards.
func backoutValues(prometheus string) object {
	peers := []object{{"podSelector": object{}}}
	off := object{"enabled": false}
	return object{
		"image":   object{"repository": backoutRepository, "pullPolicy": pullNever},
		"targets": []object{{"namespace": shopNamespace, "releases": []string{"*"}}},
		"config": object{
			"mode": "act", "prometheusUrls": []string{"http://" + prometheus}, "logFormat": "text",
			// Verified as soon as the alert is quiet, as on the sandbox.
			"verify": "1s", "verifyLimit": "3m",
			// The leader stays the leader while the machine is busy.
			"leaseDuration": "60s", "leaseRenew": "40s",
			// The clean-up ends its pods.
			"grace": "10s",
		},
		"auth":          object{"existingSecret": tokenSecret, "key": tokenKey},
		"networkPolicy": object{"webhookFrom": peers, "opsFrom": peers},
		"rules":         off, "serviceMonitor": off, "alertmanagerConfig": off, "dashboards": off, "tests": off,
	}
}

// monitoringValues are the values of the demo's own chart. The addresses are those of
// Alertmanager and of backout's webhook.
func monitoringValues(alertmanager, webhook string) (object, error) {
	rules, err := stage.Rules(nil, keepFiring)
	if err != nil {
		return nil, err
	}
	const etcPrometheus, etcAlertmanager = "/etc/" + prometheusName + "/", "/etc/" + alertmanagerName + "/"
	config := monitoring.Prometheus{
		RuleFiles: []string{etcPrometheus + "canary.rules.yml"}, Namespaces: []string{shopNamespace}, Alertmanagers: []string{alertmanager},
	}
	prometheusFile, err := config.YAML()
	if err != nil {
		return nil, err
	}
	alertmanagerFile, err := monitoring.Alertmanager{WebhookURL: "http://" + webhook + "/api/v1/alerts", TokenFile: "/etc/token/" + tokenKey}.YAML()
	if err != nil {
		return nil, err
	}
	return object{
		"shop": shopNamespace, "tokenSecret": tokenSecret,
		prometheusName: object{
			"image": prometheusImage(),
			"args":  []string{"--config.file=" + etcPrometheus + "prometheus.yml", "--storage.tsdb.path=/" + prometheusName, config.ReloadInterval()},
			"files": object{"prometheus.yml": string(prometheusFile), "canary.rules.yml": string(rules)},
		},
		alertmanagerName: object{
			"image": alertmanagerImage(),
			"args":  []string{"--config.file=" + etcAlertmanager + "alertmanager.yml", "--storage.path=/" + alertmanagerName, "--cluster.listen-address="},
			"files": object{"alertmanager.yml": string(alertmanagerFile)},
		},
	}, nil
}

// prometheus returns a client of Prometheus that goes through the API server.
func (v *visit) prometheus() (promv1.API, error) {
	transport, err := rest.TransportFor(v.config)
	if err != nil {
		return nil, fmt.Errorf("make a client of Prometheus: %w", err)
	}
	name := fmt.Sprintf("http:%s:%d", prometheusName, prometheusPort)
	url := v.cluster.Client.CoreV1().RESTClient().Get().Namespace(toolsNamespace).Resource("services").Name(name).SubResource("proxy").URL()
	client, err := api.NewClient(api.Config{Address: url.String(), RoundTripper: transport})
	if err != nil {
		return nil, fmt.Errorf("make a client of Prometheus: %w", err)
	}
	return promv1.NewAPI(client), nil
}

// log returns the ends of the logs of backout's pods.
func (v *visit) log(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestLimit)
	defer cancel()
	pods, err := v.cluster.Client.CoreV1().Pods(toolsNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + backoutName})
	if err != nil {
		return err.Error()
	}
	var all strings.Builder
	lines := int64(logLines)
	for _, p := range pods.Items {
		text, err := v.cluster.Client.CoreV1().Pods(toolsNamespace).GetLogs(p.Name, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(ctx)
		fmt.Fprintf(&all, "%s:\n%s\n", p.Name, text)
		if err != nil {
			fmt.Fprintf(&all, "%v\n", err)
		}
	}
	return all.String()
}
