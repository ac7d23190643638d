package charts_test

import (
	"slices"
	"strings"
	"testing"
)

func TestServiceMonitorOnlyWhereItsKindIsServed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		install install
		want    int
		notes   string
	}{
		{"no operator", install{}, 0, "this cluster has no ServiceMonitor"},
		{"operator", install{apis: []string{monitorAPI}}, 1, "selects only monitors with its own release label"},
		{"operator, labelled", install{apis: []string{monitorAPI}, set: "serviceMonitor.additionalLabels.release=prom"}, 1, ""},
		{"operator, switched off", install{apis: []string{monitorAPI}, set: "serviceMonitor.enabled=false"}, 0, "serviceMonitor.enabled is false"},
		{"operator without this kind", install{apis: []string{"monitoring.coreos.com/v1"}}, 0, "this cluster has no ServiceMonitor"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := tt.install.render(t)
			if len(found.monitors) != tt.want {
				t.Errorf("%d ServiceMonitors, want %d", len(found.monitors), tt.want)
			}
			if !strings.Contains(found.notes, tt.notes) || (tt.notes == "" && strings.Contains(found.notes, "Metrics")) {
				t.Errorf("the notes do not say %q and nothing else about metrics:\n%s", tt.notes, found.notes)
			}
		})
	}
}

// The alert rules group by these labels: without one of them no alert names a release.
func TestServiceMonitorSetsTheLabelsOfTheRules(t *testing.T) {
	for _, release := range []string{"canary-demo", "shop"} {
		found := install{release: release, apis: []string{monitorAPI}, set: "serviceMonitor.additionalLabels.release=prom"}.render(t)
		for _, monitor := range found.monitors {
			endpoint := monitor.Spec.Endpoints[0]
			var labels []string
			for _, relabeling := range endpoint.Relabelings {
				labels = append(labels, relabeling.TargetLabel)
				for name, deployment := range found.deployments {
					if source := podLabel(deployment.Spec.Template.Labels, relabeling.SourceLabels); source == "" {
						t.Errorf("the pods of %s have no label for %v", name, relabeling.SourceLabels)
					}
				}
			}
			if want := []string{"app", "release", "track", "version"}; !slices.Equal(labels, want) {
				t.Errorf("targets get the labels %q, want %q", labels, want)
			}
			if endpoint.Path != "/metrics" || endpoint.Interval != "15s" {
				t.Errorf("the monitor scrapes %s every %s, want /metrics every 15s", endpoint.Path, endpoint.Interval)
			}
			if monitor.Metadata.Labels["release"] != "prom" {
				t.Errorf("the monitor lacks its additional label: %v", monitor.Metadata.Labels)
			}
			for name, service := range found.services {
				if !covers(service.Labels, monitor.Spec.Selector.MatchLabels) || service.Spec.Ports[0].Name != endpoint.Port {
					t.Errorf("the monitor does not select Service %s: %v", name, service.Labels)
				}
			}
		}
	}
}

// podLabel returns the pod label that Prometheus' service discovery has under the only name in sources, or "".
func podLabel(labels map[string]string, sources []string) string {
	plain := strings.NewReplacer(".", "_", "/", "_", "-", "_")
	for key, value := range labels {
		if slices.Equal(sources, []string{"__meta_kubernetes_pod_label_" + plain.Replace(key)}) {
			return value
		}
	}
	return ""
}

func TestNotesSayWhatComesNext(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  string
		want []string
		none []string
	}{
		{"the exercise", "", []string{"canary-demo-canary v2 the canary with 20% of the traffic", "canary-demo.local", "99.9% over 30d leaves 2592 seconds", "rollback canary-demo <revision> --wait"}, nil},
		{"no ingress", "ingress.enabled=false", []string{"port-forward svc/canary-demo 8080:80"}, []string{"of the traffic", "canary.weight"}},
		{"no canary", "canary.enabled=false", []string{"v1 is the stable track."}, []string{"promote", "the canary"}},
		{"gateway", gateway, []string{"20% of the traffic", "-H 'Host: canary-demo.local' http://<address of the Gateway shared>/", "--set canary.weight=50"}, []string{"ingress controller"}},
		{"gateway without hosts", gateway + ",gateway.hostnames=null", []string{"curl -s http://<address of the Gateway shared>/"}, []string{"Host:"}},
		{"gateway to another release", gateway + ",canary.enabled=false,gateway.canaryService=shop-canary", []string{"The Service shop-canary of another release gets 20%"}, []string{"promote"}},
		{"canary alone", "stable.enabled=false", []string{"canary-demo-canary v2 is a canary in a release of its own: it gets 20%", "upgrade <stable release> <chart> --reuse-values --set image.tag=v2,config.main.appColor=green\n", "uninstall canary-demo"}, []string{"v1", "canary.enabled=false"}},
		{"canary alone, gateway", "stable.enabled=false,routing=gateway", []string{"--set gateway.canaryService=canary-demo-canary,canary.weight=20", "port-forward svc/canary-demo-canary"}, []string{"v1", "canary.weight=50"}},
		{"another objective", "slo.availability.target=99,slo.availability.window=7d", []string{"99% over 7d leaves 6048 seconds"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			notes := install{set: tt.set}.render(t).notes
			for _, want := range tt.want {
				if !strings.Contains(notes, want) {
					t.Errorf("the notes lack %q:\n%s", want, notes)
				}
			}
			for _, none := range tt.none {
				if strings.Contains(notes, none) {
					t.Errorf("the notes contain %q:\n%s", none, notes)
				}
			}
		})
	}
}
