package charts_test

import (
	"strings"
	"testing"
)

// Users read the schema's error: it has to name the value.
func TestBadValuesAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, set, want string }{
		{"weight above 100", "canary.weight=101", "/canary/weight"},
		{"weight below 0", "canary.weight=-1", "/canary/weight"},
		{"weight in words", "canary.weight=half", "/canary/weight"},
		{"misspelt weight", "canary.wieght=20", "'wieght' not allowed"},
		{"no weight", "canary.weight=null", "'weight'"},
		{"misspelt value", "replicas=3", "'replicas' not allowed"},
		{"misspelt image value", "image.tags=v1", "'tags' not allowed"},
		{"misspelt canary value", "canary.enable=false", "'enable' not allowed"},
		{"misspelt config value", "config.canary.color=red", "'color' not allowed"},
		{"unknown track", "config.blue.appColor=blue", "'blue' not allowed"},
		{"misspelt probe field", "probes.readiness.period=3", "'period' not allowed"},
		{"misspelt SLO", "slo.availability.goal=99", "'goal' not allowed"},
		{"misspelt monitor value", "serviceMonitor.labels.a=b", "'labels' not allowed"},
		{"negative replicas", "replicaCount=-1", "/replicaCount"},
		{"canary replicas in words", "canary.replicaCount=one", "/canary/replicaCount"},
		{"switch in words", "canary.enabled=yes", "/canary/enabled"},
		{"tag with a digest", "image.tag=v1@sha256:0", "/image/tag"},
		{"tag that is a number", "canary.image.tag=3", "/canary/image/tag"},
		{"tag too long for a label", "image.tag=" + strings.Repeat("v", 64), "/image/tag"},
		{"empty tag", "canary.image.tag=", "/canary/image/tag"},
		{"empty repository", "image.repository=", "/image/repository"},
		{"unknown pull policy", "image.pullPolicy=Sometimes", "/image/pullPolicy"},
		{"hostile colour", "config.canary.appColor=red;}</style><script>", "/config/canary/appColor"},
		{"hostile host", "ingress.host=a/b", "/ingress/host"},
		{"weight as an annotation", `canary.ingressAnnotations.nginx\.ingress\.kubernetes\.io/canary-weight=50`, "canary-weight"},
		{"contract variable overridden", "config.main.env.VERSION=v9", "VERSION"},
		{"environment that is not a string", "config.main.env.N=1", "/config/main/env/N"},
		{"no track at all", "stable.enabled=false,canary.enabled=false", "/canary/enabled"},
		{"stable switch in words", "stable.enabled=no", "/stable/enabled"},
		{"misspelt stable value", "stable.replicas=3", "'replicas' not allowed"},
		{"unknown routing", "routing=istio", "/routing"},
		{"route without a Gateway", "routing=gateway", "/gateway/parentRefs"},
		{"Gateway without a name", "routing=gateway,gateway.parentRefs[0].namespace=gateways", "'name'"},
		{"misspelt Gateway field", "gateway.parentRefs[0].name=shared,gateway.parentRefs[0].section=web", "'section' not allowed"},
		{"misspelt gateway value", "gateway.hosts[0]=a.example", "'hosts' not allowed"},
		{"hostile hostname", "gateway.hostnames[0]=a/b", "/gateway/hostnames/0"},
		{"two canaries on one route", "gateway.canaryService=shop-canary", "/canary/enabled"},
		{"a canary of a canary", "gateway.canaryService=shop-canary,stable.enabled=false", "/stable/enabled"},
		{"unknown Service type", "service.type=ExternalName", "/service/type"},
		{"port out of range", "service.port=0", "/service/port"},
		{"interval without unit", "serviceMonitor.interval=15", "/serviceMonitor/interval"},
		{"objective without a budget", "slo.availability.target=100", "/slo/availability/target"},
		{"window without unit", "slo.availability.window=30", "/slo/availability/window"},
		{"name that is not a DNS label", "fullnameOverride=Canary_Demo", "/fullnameOverride"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := install{set: tt.set}.manifests(t)
			if err == nil {
				t.Fatalf("the chart accepts --set %s", tt.set)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("--set %s: the error does not say %q: %v", tt.set, tt.want, err)
			}
		})
	}
}

func TestUsualValuesAreRendered(t *testing.T) {
	found := install{set: strings.Join([]string{
		"imagePullSecrets[0].name=registry",
		"nodeSelector.disk=ssd",
		"tolerations[0].key=shop,tolerations[0].operator=Exists",
		"podAnnotations.team=shop",
		"topologySpreadConstraints[0].maxSkew=1,topologySpreadConstraints[0].topologyKey=zone,topologySpreadConstraints[0].whenUnsatisfiable=ScheduleAnyway",
		"ingress.tls[0].secretName=cert,ingress.tls[0].hosts[0]=canary-demo.local",
		"probes.startup.httpGet.path=/,probes.startup.httpGet.port=http",
		"config.canary.env.DRAIN_DELAY=5s",
		"resources.requests.cpu=1",
		"global.owner=parent",
	}, ",")}.render(t)
	for name, deployment := range found.deployments {
		pod := deployment.Spec.Template.Spec
		if len(pod.ImagePullSecrets) != 1 || pod.NodeSelector["disk"] != "ssd" || len(pod.Tolerations) != 1 || len(pod.TopologySpreadConstraints) != 1 {
			t.Errorf("Deployment %s lacks one of the usual values: %v", name, pod)
		}
		if deployment.Spec.Template.Annotations["team"] != "shop" {
			t.Errorf("Deployment %s lacks the annotation of its pods", name)
		}
		if pod.Containers[0].StartupProbe == nil || pod.Containers[0].Resources.Requests.Cpu().Value() != 1 {
			t.Errorf("Deployment %s lacks the startup probe or the CPU request", name)
		}
		if tls := found.ingresses[name].Spec.TLS; len(tls) != 1 || tls[0].SecretName != "cert" {
			t.Errorf("Ingress %s has the certificates %v", name, tls)
		}
		env := environment(pod.Containers[0], found.configs)
		if _, set := env["DRAIN_DELAY"]; set != (name == "canary-demo-canary") {
			t.Errorf("Deployment %s has the environment %v; DRAIN_DELAY is the canary's", name, env)
		}
	}
}
