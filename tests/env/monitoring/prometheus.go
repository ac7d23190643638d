// Package monitoring writes the configuration files of the Prometheus and the Alertmanager
// that demo and tests run, in a sandbox or on a cluster that exists.
package monitoring

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/tests/env/programs"
)

// Prometheus is the configuration of a Prometheus that scrapes storefronts.
//
// It scrapes /metrics of every pod, ready or not, behind a port named http of a Service
// with the labels of a Helm release. It sets the labels that the chart's ServiceMonitor
// sets: namespace, pod, service, app, release, track and version.
type Prometheus struct {
	// ScrapeInterval and EvaluationInterval are 1s unless set.
	ScrapeInterval, EvaluationInterval time.Duration
	// RuleFiles are the absolute paths of rule files.
	RuleFiles []string
	// Kubeconfig is the path of the kubeconfig that it finds pods with; "": it uses the
	// service account of its own pod.
	Kubeconfig string
	// Namespaces are those of the pods; nil: all.
	Namespaces []string
	// Targets are scraped in addition, with honor_labels: addresses by the name of their job.
	Targets map[string][]string
	// Alertmanagers are the addresses of those that receive the alerts.
	Alertmanagers []string
}

// object is a mapping of a configuration file.
type object = map[string]any

// YAML returns the configuration file.
func (p Prometheus) YAML() ([]byte, error) {
	m, err := chartMonitor()
	if err != nil {
		return nil, err
	}
	scrapes := []object{m.releases(p.discovery())}
	for job, targets := range p.Targets {
		scrapes = append(scrapes, object{"job_name": job, "honor_labels": true, "static_configs": []object{{"targets": targets}}})
	}
	interval := orDefault(p.ScrapeInterval, time.Second)
	b, err := yaml.Marshal(object{
		"global": object{
			"scrape_interval":     interval.String(),
			"scrape_timeout":      min(interval, 10*time.Second).String(),
			"evaluation_interval": orDefault(p.EvaluationInterval, time.Second).String(),
		},
		"storage":        object{"tsdb": object{"retention": object{"time": "2h"}}},
		"rule_files":     p.RuleFiles,
		"scrape_configs": scrapes,
		"alerting":       object{"alertmanagers": []object{{"static_configs": []object{{"targets": p.Alertmanagers}}}}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the configuration of Prometheus: %w", err)
	}
	return b, nil
}

// discovery returns how pods are found.
func (p Prometheus) discovery() object {
	found := object{"role": "endpointslice"}
	if p.Kubeconfig != "" {
		found["kubeconfig_file"] = p.Kubeconfig
	}
	if p.Namespaces != nil {
		found["namespaces"] = object{"names": p.Namespaces}
	}
	return found
}

// ReloadInterval returns the argument with which a new pod is scraped after one interval;
// the default would add up to 5 seconds.
func (p Prometheus) ReloadInterval() string {
	return "--scrape.discovery-reload-interval=" + min(orDefault(p.ScrapeInterval, time.Second), 5*time.Second).String()
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// monitor has the relabelings of the chart's ServiceMonitor.
type monitor struct {
	Relabelings, MetricRelabelings []relabeling
}

// relabeling is a relabeling in the spelling of the Prometheus Operator.
type relabeling struct {
	SourceLabels               []string
	TargetLabel, Regex, Action string
	Separator, Replacement     *string
}

// chartMonitor reads the chart's own values, so that the alert rules see the same labels as on a cluster.
func chartMonitor() (monitor, error) {
	root, err := programs.Repository()
	if err != nil {
		return monitor{}, err
	}
	values := filepath.Join(root, "charts", "canary-demo", "values.yaml")
	b, err := os.ReadFile(values)
	if err != nil {
		return monitor{}, fmt.Errorf("read the chart's values: %w", err)
	}
	var chart struct{ ServiceMonitor monitor }
	if err := yaml.Unmarshal(b, &chart); err != nil {
		return monitor{}, fmt.Errorf("read the chart's values in %s: %w", values, err)
	}
	if len(chart.ServiceMonitor.Relabelings) == 0 {
		return monitor{}, fmt.Errorf("read the chart's values in %s: serviceMonitor.relabelings is empty, but the alert rules need its labels", values)
	}
	return chart.ServiceMonitor, nil
}

// config is the relabeling in Prometheus' spelling.
func (r relabeling) config() object {
	o := object{}
	for name, value := range map[string]string{"target_label": r.TargetLabel, "regex": r.Regex, "action": r.Action} {
		if value != "" {
			o[name] = value
		}
	}
	if len(r.SourceLabels) > 0 {
		o["source_labels"] = r.SourceLabels
	}
	if r.Separator != nil {
		o["separator"] = *r.Separator
	}
	if r.Replacement != nil {
		o["replacement"] = *r.Replacement
	}
	return o
}

// releases is the scrape configuration that the Prometheus Operator generates from the chart's ServiceMonitor, but for all
// releases and namespaces at once.
func (m monitor) releases(discovery object) object {
	const service, pod = "__meta_kubernetes_service_", "__meta_kubernetes_pod_"
	label := func(from, to string) object { return object{"source_labels": []string{from}, "target_label": to} }
	labels := []object{
		// The selector of the ServiceMonitor.
		{
			"source_labels": []string{service + "labelpresent_app_kubernetes_io_instance", "__meta_kubernetes_endpointslice_port_name"},
			"regex":         "true;http", "action": "keep",
		},
		// The relabelings that the Operator adds to every ServiceMonitor.
		{"source_labels": []string{pod + "phase"}, "regex": "Failed|Succeeded", "action": "drop"},
		label("__meta_kubernetes_namespace", "namespace"),
		label(service+"name", "service"),
		label(service+"name", "job"),
		label(pod+"name", "pod"),
		label(pod+"container_name", "container"),
		label("__meta_kubernetes_endpointslice_port_name", "endpoint"),
	}
	for _, r := range m.Relabelings {
		labels = append(labels, r.config())
	}
	var metricLabels []object
	for _, r := range m.MetricRelabelings {
		metricLabels = append(metricLabels, r.config())
	}
	return object{
		"job_name":               "releases",
		"kubernetes_sd_configs":  []object{discovery},
		"relabel_configs":        labels,
		"metric_relabel_configs": metricLabels,
	}
}
