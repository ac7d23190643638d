package exercise

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// track is one of the deployments: its name in the answers, its label in the chart, its Service and version.
type track struct{ name, label, service, version string }

func tracks() []track {
	return []track{{"main", "stable", Release, "v1"}, {"canary", "canary", Release + "-canary", "v2"}}
}

// readCluster adds the answers from the API server: pods, Services, Ingress.
func (r *run) readCluster(ctx context.Context) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	for _, t := range tracks() {
		pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{
			LabelSelector: "track=" + t.label, FieldSelector: "status.phase=Running",
		})
		if err != nil {
			return fmt.Errorf("list the pods: %w", err)
		}
		running := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
		r.answers.put("pods_status."+t.name+"_pods_running", len(running),
			fmt.Sprintf("kubectl get pods -n %s -l track=%s --field-selector status.phase=Running --no-headers | wc -l", Namespace, t.label))
		service, err := client.CoreV1().Services(Namespace).Get(ctx, t.service, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read the Service: %w", err)
		}
		r.answers.put("service_endpoints."+t.name+"_service_cluster_ip", service.Spec.ClusterIP,
			fmt.Sprintf("kubectl get service -n %s %s -o jsonpath={.spec.clusterIP}", Namespace, t.service))
	}
	return r.readIngress(ctx, client)
}

func (r *run) readIngress(ctx context.Context, client kubernetes.Interface) error {
	ingress, err := client.NetworkingV1().Ingresses(Namespace).Get(ctx, Release, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the Ingress: %w", err)
	}
	at, how := r.Address, "the router's address, which it does not write into the Ingress"
	if known := ingress.Status.LoadBalancer.Ingress; len(known) > 0 && known[0].IP != "" {
		at, how = known[0].IP, fmt.Sprintf("kubectl get ingress -n %s %s -o jsonpath={.status.loadBalancer.ingress[0].ip}", Namespace, Release)
	}
	r.answers.put("ingress_details.address", at, how)
	r.answers.put("ingress_details.host", ingress.Spec.Rules[0].Host,
		fmt.Sprintf("kubectl get ingress -n %s %s -o jsonpath={.spec.rules[0].host}", Namespace, Release))
	return nil
}

// queryPrometheus adds the answers from Prometheus: each track's metrics over all its pods,
// and the rates of the window.
func (r *run) queryPrometheus(ctx context.Context) error {
	for _, t := range tracks() {
		series := fmt.Sprintf(`{namespace=%q,version=%q}`, Namespace, t.version)
		for _, metric := range []string{"http_requests_total", "process_cpu_seconds_total", "process_resident_memory_bytes"} {
			if err := r.queryFor(ctx, t.name+"_deployment_metrics."+metric, "sum("+metric+series+")"); err != nil {
				return err
			}
		}
		if err := r.queryFor(ctx, "prometheus_metrics."+t.name+"_request_rate", "sum(rate(http_requests_total"+series+"["+model.Duration(r.Window).String()+"]))"); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) queryFor(ctx context.Context, key, query string) error {
	value, err := r.query(ctx, query)
	if err != nil {
		return err
	}
	r.answers.put(key, rounded(value), query)
	return nil
}

// rounded returns a whole number, or a fraction with four digits.
func rounded(value float64) any {
	if value == math.Trunc(value) {
		return int64(value)
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(value, 'f', 4, 64), 64)
	if err != nil {
		return value
	}
	return short
}

// putSplit adds the answers about the split of the traffic test.
func (r *run) putSplit(total, canary int) {
	how := fmt.Sprintf("for i in $(seq %d); do curl -s -H 'Host: %s' http://ADDRESS/; done | grep -o 'Hello from version v[0-9]*' | sort | uniq -c", total, r.Host)
	r.answers.put("traffic_test_results.total_requests_sent", total, how)
	r.answers.put("traffic_test_results.main_responses_received", total-canary, "the same, those of v1")
	r.answers.put("traffic_test_results.canary_responses_received", canary, "the same, those of v2")
	r.answers.put("traffic_test_results.actual_canary_percentage", rounded(100*float64(canary)/float64(total)), "100 * canary_responses_received / total_requests_sent")
}
