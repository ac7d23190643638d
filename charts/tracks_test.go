package charts_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
)

// backout compares pod templates and ConfigMaps to distinguish a ramp from a new canary. And if the stable track restarted because
// the canary changed, both would be at risk at once.
func TestATrackChangesOnlyByItsOwnValues(t *testing.T) {
	const stable, canary = "canary-demo", "canary-demo-canary"
	before := install{}.render(t)
	for _, tt := range []struct {
		name  string
		after install
		want  []string
	}{
		{"a new canary", install{set: "canary.image.tag=v3"}, []string{canary}},
		{"the canary's colour", install{set: "config.canary.appColor=yellow"}, []string{canary}},
		{"the canary's message", install{set: "config.canary.welcomeMessage=hi"}, []string{canary}},
		{"the canary's environment", install{set: "config.canary.env.FLAG=on"}, []string{canary}},
		{"a new stable", install{set: "image.tag=v2"}, []string{stable}},
		{"the stable's colour", install{set: "config.main.appColor=blue"}, []string{stable}},
		{"the stable's message", install{set: "config.main.welcomeMessage=hi"}, []string{stable}},
		{"the stable's environment", install{set: "config.main.env.FLAG=on"}, []string{stable}},
		{"a ramp", install{set: "canary.weight=50"}, nil},
		{"more pods", install{set: "canary.replicaCount=4,replicaCount=9"}, nil},
		{"a canary annotation", install{set: "canary.ingressAnnotations.a=b"}, nil},
		{"another host and port", install{set: "ingress.host=shop.example,service.port=8080"}, nil},
		{"another router", install{set: gateway}, nil},
		{"a ramp by another router", install{set: gateway + ",canary.weight=50"}, nil},
		{"another objective", install{set: "slo.availability.target=99"}, nil},
		{"a later revision", install{revision: 7}, nil},
		{"another chart version", install{chartVersion: "9.9.9"}, nil},
		{"an operator arrives", install{apis: []string{monitorAPI}}, nil},
		{"a shared value", install{set: "image.repository=storefront"}, []string{stable, canary}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after := tt.after.render(t)
			var changed []string
			for _, name := range []string{stable, canary} {
				sameTemplate := equality.Semantic.DeepEqual(before.deployments[name].Spec.Template, after.deployments[name].Spec.Template)
				sameData := maps.Equal(before.configs[name].Data, after.configs[name].Data)
				if !sameTemplate || !sameData {
					changed = append(changed, name)
				}
				if !sameData && sameTemplate {
					t.Errorf("the ConfigMap %s changes, but its pods do not restart", name)
				}
			}
			if !slices.Equal(changed, tt.want) {
				t.Errorf("the content of %q changes, want %q", changed, tt.want)
			}
		})
	}
}

func TestPromotionLeavesTheStableTrackAlone(t *testing.T) {
	with, without := install{}.render(t), install{set: "canary.enabled=false"}.render(t)
	if !equality.Semantic.DeepEqual(with.deployments["canary-demo"], without.deployments["canary-demo"]) {
		t.Error("the stable Deployment depends on whether there is a canary")
	}
}

// A selector is immutable: a label in it that changes makes every later upgrade and rollback fail.
func TestSelectorsNeverChange(t *testing.T) {
	for release, found := range map[string]objects{"canary-demo": install{}.render(t), "shop": install{release: "shop"}.render(t)} {
		for name, deployment := range found.deployments {
			track := "stable"
			if strings.HasSuffix(name, "-canary") {
				track = "canary"
			}
			want := map[string]string{"app.kubernetes.io/name": "canary-demo", "app.kubernetes.io/instance": release, "track": track}
			if got := deployment.Spec.Selector.MatchLabels; !maps.Equal(got, want) {
				t.Errorf("Deployment %s selects %v, want %v", name, got, want)
			}
			if got := found.services[name].Spec.Selector; !maps.Equal(got, want) {
				t.Errorf("Service %s selects %v, want %v", name, got, want)
			}
			if !covers(deployment.Spec.Template.Labels, want) {
				t.Errorf("Deployment %s does not select its own pods: %v", name, deployment.Spec.Template.Labels)
			}
			if deployment.Labels["helm.sh/chart"] != "canary-demo-0.1.0" {
				t.Errorf("Deployment %s does not have its chart as a label: %v", name, deployment.Labels)
			}
		}
	}
}

func TestOriginalImagesCanRun(t *testing.T) {
	pod := install{}.render(t).deployments["canary-demo"].Spec.Template.Spec
	container := pod.Containers[0]
	if readiness, liveness := container.ReadinessProbe.HTTPGet.Path, container.LivenessProbe.HTTPGet.Path; readiness != "/" || liveness != "/" {
		t.Errorf("the probes request %s and %s; the original images serve only /", readiness, liveness)
	}
	if pod.SecurityContext.RunAsNonRoot != nil || container.SecurityContext.ReadOnlyRootFilesystem != nil {
		t.Error("the defaults forbid root or a writable root file system, which the original images may need")
	}
}

func TestOwnImageRunsHardened(t *testing.T) {
	pod := install{valuesFile: "values-storefront.yaml"}.render(t).deployments["canary-demo"].Spec.Template.Spec
	container := pod.Containers[0]
	if readiness, liveness := container.ReadinessProbe.HTTPGet.Path, container.LivenessProbe.HTTPGet.Path; readiness != "/readyz" || liveness != "/healthz" {
		t.Errorf("the probes request %s and %s, want /readyz and /healthz", readiness, liveness)
	}
	context := container.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || !*context.ReadOnlyRootFilesystem || *context.AllowPrivilegeEscalation || len(context.Capabilities.Drop) != 1 {
		t.Errorf("the pod has more privileges than it needs: %v, %v", pod.SecurityContext, context)
	}
	if *pod.AutomountServiceAccountToken {
		t.Error("the pod gets a token, but never calls the API server")
	}
}
