package sandbox

import (
	"time"

	"sigs.k8s.io/yaml"
)

// object is a mapping of a configuration file.
type object = map[string]any

// config is Prometheus' configuration: intervals as in the options, the storefront's pods, and what is scraped beside them.
func (o PrometheusOptions) config(kubeconfig string) ([]byte, error) {
	scrapes := []object{releases(kubeconfig)}
	for job, targets := range o.Targets {
		scrapes = append(scrapes, object{"job_name": job, "static_configs": []object{{"targets": targets}}})
	}
	var alertmanagers []string
	for _, a := range o.Alertmanagers {
		alertmanagers = append(alertmanagers, a.inner)
	}
	interval := orDefault(o.ScrapeInterval, time.Second)
	return yaml.Marshal(object{
		"global": object{
			"scrape_interval":     interval.String(),
			"scrape_timeout":      min(interval, 10*time.Second).String(),
			"evaluation_interval": orDefault(o.EvaluationInterval, time.Second).String(),
		},
		"storage":        object{"tsdb": object{"retention": object{"time": "2h"}}},
		"rule_files":     o.RuleFiles,
		"scrape_configs": scrapes,
		"alerting":       object{"alertmanagers": []object{{"static_configs": []object{{"targets": alertmanagers}}}}},
	})
}

// releases is what the Prometheus Operator makes of the charts' ServiceMonitor, but for all releases and namespaces at once.
func releases(kubeconfig string) object {
	const service, pod = "__meta_kubernetes_service_", "__meta_kubernetes_pod_"
	label := func(from, to string) object { return object{"source_labels": []string{from}, "target_label": to} }
	keep := func(regex string, from ...string) object {
		return object{"source_labels": from, "regex": regex, "action": "keep"}
	}
	return object{
		"job_name":              "releases",
		"kubernetes_sd_configs": []object{{"role": "endpointslice", "kubeconfig_file": kubeconfig}},
		"relabel_configs": []object{
			// What the ServiceMonitor selects.
			keep("true;http", service+"labelpresent_app_kubernetes_io_instance", "__meta_kubernetes_endpointslice_port_name"),
			// What the Operator adds to every ServiceMonitor.
			{"source_labels": []string{pod + "phase"}, "regex": "Failed|Succeeded", "action": "drop"},
			label("__meta_kubernetes_namespace", "namespace"),
			label(service+"name", "service"),
			label(service+"name", "job"),
			label(pod+"name", "pod"),
			label(pod+"container_name", "container"),
			label("__meta_kubernetes_endpointslice_port_name", "endpoint"),
			// The ServiceMonitor's own relabelings.
			label(pod+"label_app_kubernetes_io_instance", "release"),
			label(pod+"label_track", "track"),
			label(pod+"label_app_kubernetes_io_version", "version"),
		},
		"metric_relabel_configs": []object{{"regex": "exported_version", "action": "labeldrop"}},
	}
}
