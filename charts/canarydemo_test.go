package charts_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint/support"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

func TestChartIsLintClean(t *testing.T) {
	for _, values := range []map[string]any{
		nil,
		{"canary": map[string]any{"enabled": false}},
		{"ingress": map[string]any{"enabled": false}},
		{"stable": map[string]any{"enabled": false}},
		{"routing": "gateway", "gateway": map[string]any{"parentRefs": []any{map[string]any{"name": "shared"}}}},
	} {
		lint := action.NewLint()
		lint.Strict = true
		lint.KubeVersion = &chartutil.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
		result := lint.Run([]string{"canary-demo"}, values)
		if result.TotalChartsLinted != 1 {
			t.Fatalf("helm lint finds no chart: %v", result.Errors)
		}
		for _, message := range result.Messages {
			if message.Severity > support.InfoSev {
				t.Errorf("helm lint --strict with %v: %s", values, message)
			}
		}
	}
}

func TestReleaseHasTheNamesOfTheExercise(t *testing.T) {
	for _, tt := range []struct {
		name    string
		install install
		want    []string
	}{
		{"the exercise", install{}, []string{"canary-demo", "canary-demo-canary"}},
		{"another release", install{release: "shop"}, []string{"shop-canary-demo", "shop-canary-demo-canary"}},
		{"a numeric release", install{release: "123"}, []string{"123-canary-demo", "123-canary-demo-canary"}},
		{"a release that names the chart", install{release: "my-canary-demo"}, []string{"my-canary-demo", "my-canary-demo-canary"}},
		{"no canary", install{set: "canary.enabled=false"}, []string{"canary-demo"}},
		{"no canary, another release", install{release: "shop", set: "canary.enabled=false"}, []string{"shop-canary-demo"}},
		{"own name", install{set: "fullnameOverride=storefront"}, []string{"storefront", "storefront-canary"}},
		{"the longest release name", install{release: strings.Repeat("r", 53)}, []string{strings.Repeat("r", 53) + "-ca", strings.Repeat("r", 53) + "-ca-canary"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := tt.install.render(t)
			for kind, names := range map[string][]string{
				"Deployments": slices.Sorted(maps.Keys(found.deployments)),
				"Services":    slices.Sorted(maps.Keys(found.services)),
				"ConfigMaps":  slices.Sorted(maps.Keys(found.configs)),
				"Ingresses":   slices.Sorted(maps.Keys(found.ingresses)),
			} {
				if !slices.Equal(names, tt.want) {
					t.Errorf("the %s are %q, want %q", kind, names, tt.want)
				}
			}
			for name := range found.services {
				if len(name) > 63 {
					t.Errorf("the Service name %s has %d characters, at most 63 are allowed", name, len(name))
				}
			}
		})
	}
}

func TestTracksOfTheExercise(t *testing.T) {
	found := install{}.render(t)
	for _, tt := range []struct {
		name, track, tag, color, message string
		replicas                         int32
	}{
		{"canary-demo", "stable", "v1", "white", "Hello from version v1", 3},
		{"canary-demo-canary", "canary", "v2", "green", "Hello from version v2", 1},
	} {
		t.Run(tt.track, func(t *testing.T) {
			deployment := found.deployments[tt.name]
			if *deployment.Spec.Replicas != tt.replicas {
				t.Errorf("%d replicas, want %d", *deployment.Spec.Replicas, tt.replicas)
			}
			container := deployment.Spec.Template.Spec.Containers[0]
			if want := "uonyeka/canary-demo:" + tt.tag; container.Image != want {
				t.Errorf("the image is %s, want %s", container.Image, want)
			}
			env := environment(container, found.configs)
			want := map[string]string{"VERSION": tt.tag, "APP_COLOR": tt.color, "WELCOME_MESSAGE": tt.message}
			if !maps.Equal(env, want) {
				t.Errorf("the environment is %v, want %v", env, want)
			}
			for _, labels := range []map[string]string{deployment.Labels, deployment.Spec.Template.Labels, found.services[tt.name].Labels, found.configs[tt.name].Labels, found.ingresses[tt.name].Labels} {
				if labels["track"] != tt.track || labels["app.kubernetes.io/version"] != tt.tag || labels["app.kubernetes.io/instance"] != "canary-demo" {
					t.Errorf("the labels lack track %s, version %s or the release: %v", tt.track, tt.tag, labels)
				}
			}
		})
	}
}

// environment resolves a container's variables as the kubelet does; a missing reference resolves to nothing.
func environment(container corev1.Container, configs map[string]*corev1.ConfigMap) map[string]string {
	env := map[string]string{}
	for _, variable := range container.Env {
		env[variable.Name] = variable.Value
		if variable.ValueFrom == nil {
			continue
		}
		ref := variable.ValueFrom.ConfigMapKeyRef
		if config, ok := configs[ref.Name]; ok {
			env[variable.Name] = config.Data[ref.Key]
		}
	}
	return env
}

func TestRequestsReachTheirTrack(t *testing.T) {
	for _, release := range []string{"canary-demo", "shop"} {
		found := install{release: release}.render(t)
		for name, ingress := range found.ingresses {
			if class := *ingress.Spec.IngressClassName; class != "nginx" {
				t.Errorf("Ingress %s is of class %s, want nginx", name, class)
			}
			rule := ingress.Spec.Rules[0]
			path := rule.HTTP.Paths[0]
			if rule.Host != "canary-demo.local" || path.Path != "/" || *path.PathType != networkingv1.PathTypePrefix {
				t.Errorf("Ingress %s serves %s%s, want every path of canary-demo.local", name, rule.Host, path.Path)
			}
			service, ok := found.services[path.Backend.Service.Name]
			if !ok || service.Name != name {
				t.Fatalf("Ingress %s has the backend %s, want the Service of the same name", name, path.Backend.Service.Name)
			}
			port := service.Spec.Ports[0]
			if port.Name != path.Backend.Service.Port.Name || port.Port != 80 {
				t.Errorf("Service %s listens on %s=%d, want the port of its Ingress, 80", name, port.Name, port.Port)
			}
			for other, deployment := range found.deployments {
				if selected := covers(deployment.Spec.Template.Labels, service.Spec.Selector); selected != (other == name) {
					t.Errorf("Service %s selects the pods of %s: %t", name, other, selected)
				}
			}
			container := found.deployments[name].Spec.Template.Spec.Containers[0]
			if ports := container.Ports[0]; ports.Name != port.TargetPort.StrVal || ports.ContainerPort != 5000 {
				t.Errorf("Service %s has the target port %s, the pods listen on %s=%d, want 5000", name, port.TargetPort.StrVal, ports.Name, ports.ContainerPort)
			}
		}
	}
}

// covers reports whether labels have every pair of selector.
func covers(labels, selector map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

func TestCanaryWeight(t *testing.T) {
	const canary, weight = "nginx.ingress.kubernetes.io/canary", "nginx.ingress.kubernetes.io/canary-weight"
	for _, percent := range []int{0, 1, 20, 100} {
		want := strconv.Itoa(percent)
		annotations := install{set: "canary.weight=" + want}.render(t).ingresses["canary-demo-canary"].Annotations
		if annotations[canary] != "true" || annotations[weight] != want {
			t.Errorf("canary.weight=%s renders %v", want, annotations)
		}
	}
	found := install{set: `canary.ingressAnnotations.nginx\.ingress\.kubernetes\.io/canary-by-header=X-Canary,ingress.annotations.team=shop`}.render(t)
	want := map[string]string{canary: "true", weight: "20", canary + "-by-header": "X-Canary"}
	if got := found.ingresses["canary-demo-canary"].Annotations; !maps.Equal(got, want) {
		t.Errorf("the canary Ingress has the annotations %v, want %v", got, want)
	}
	if got := found.ingresses["canary-demo"].Annotations; !maps.Equal(got, map[string]string{"team": "shop"}) {
		t.Errorf("the main Ingress has the annotations %v, want its own and no split", got)
	}
	if ingresses := (install{set: "ingress.enabled=false"}).render(t).ingresses; len(ingresses) > 0 {
		t.Errorf("ingress.enabled=false renders %d Ingresses", len(ingresses))
	}
}
