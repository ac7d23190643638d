package upcommerce

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// track is one of the deployments, as answers name it and as the chart labels it.
type track struct{ name, label, service, version string }

func tracks() []track {
	return []track{{"main", "stable", Release, "v1"}, {"canary", "canary", Release + "-canary", "v2"}}
}

// askCluster answers what the API server knows: pods, Services, Ingress.
func (r *run) askCluster(ctx context.Context) error {
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
		leaving := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
		r.answers.put("pods_status."+t.name+"_pods_running", len(leaving),
			fmt.Sprintf("kubectl get pods -n %s -l track=%s --field-selector status.phase=Running --no-headers | wc -l", Namespace, t.label))
		service, err := client.CoreV1().Services(Namespace).Get(ctx, t.service, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read the Service: %w", err)
		}
		r.answers.put("service_endpoints."+t.name+"_service_cluster_ip", service.Spec.ClusterIP,
			fmt.Sprintf("kubectl get service -n %s %s -o jsonpath={.spec.clusterIP}", Namespace, t.service))
	}
	return r.askIngress(ctx, client)
}

func (r *run) askIngress(ctx context.Context, client kubernetes.Interface) error {
	ingress, err := client.NetworkingV1().Ingresses(Namespace).Get(ctx, Release, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the Ingress: %w", err)
	}
	at, how := r.Address, "where the router listens: it writes no address into the Ingress"
	if known := ingress.Status.LoadBalancer.Ingress; len(known) > 0 && known[0].IP != "" {
		at, how = known[0].IP, fmt.Sprintf("kubectl get ingress -n %s %s -o jsonpath={.status.loadBalancer.ingress[0].ip}", Namespace, Release)
	}
	r.answers.put("ingress_details.address", at, how)
	r.answers.put("ingress_details.host", ingress.Spec.Rules[0].Host,
		fmt.Sprintf("kubectl get ingress -n %s %s -o jsonpath={.spec.rules[0].host}", Namespace, Release))
	return nil
}

// askPrometheus answers what is measured: each track's metrics over all its pods, and
// the rates of five minutes.
func (r *run) askPrometheus(ctx context.Context) error {
	for _, t := range tracks() {
		series := fmt.Sprintf(`{namespace=%q,version=%q}`, Namespace, t.version)
		for _, metric := range []string{"http_requests_total", "process_cpu_seconds_total", "process_resident_memory_bytes"} {
			if err := r.askFor(ctx, t.name+"_deployment_metrics."+metric, "sum("+metric+series+")"); err != nil {
				return err
			}
		}
		if err := r.askFor(ctx, "prometheus_metrics."+t.name+"_request_rate", "sum(rate(http_requests_total"+series+"[5m]))"); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) askFor(ctx context.Context, key, query string) error {
	value, err := r.ask(ctx, query)
	if err != nil {
		return err
	}
	r.answers.put(key, rounded(value), query)
	return nil
}

// rounded keeps four digits of a fraction; what is whole stays so.
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

// askSplit answers how the versions shared the requests of the traffic test.
func (r *run) askSplit(total, canary int) {
	how := fmt.Sprintf("for i in $(seq %d); do curl -s -H 'Host: %s' http://ADDRESS/; done | grep -o 'Hello from version v[0-9]*' | sort | uniq -c", total, r.Host)
	r.answers.put("traffic_test_results.total_requests_sent", total, how)
	r.answers.put("traffic_test_results.main_responses_received", total-canary, "the same, those of v1")
	r.answers.put("traffic_test_results.canary_responses_received", canary, "the same, those of v2")
	r.answers.put("traffic_test_results.actual_canary_percentage", rounded(100*float64(canary)/float64(total)), "100 * canary_responses_received / total_requests_sent")
}
