package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pods returns a Deployment of a track.
func pods(name, track string, replicas int, tag string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {pods: %[1]s}}
  template:
    metadata: {labels: {pods: %[1]s, app: shop, track: %[2]s}}
    spec: {containers: [{name: shop, image: "uonyeka/canary-demo:%[4]s", env: [{name: VERSION, value: %[4]s}]}]}`, name, track, replicas, tag)
}

// workloads returns a StatefulSet and a DaemonSet of the canary without pods.
func workloads() []string {
	set := strings.ReplaceAll(pods("shop-state", "canary", 0, "v1"), "Deployment", "StatefulSet")
	daemons := strings.ReplaceAll(strings.ReplaceAll(pods("shop-daemons", "canary", 0, "v1"), "Deployment", "DaemonSet"), "  replicas: 0\n", "")
	return []string{set, strings.ReplaceAll(daemons, "spec: {containers", "spec: {nodeSelector: {no: node}, containers")}
}

func service(name, selector string) string {
	return fmt.Sprintf("\napiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {selector: {%s}, ports: [{name: http, port: 80, targetPort: 5000}]}", name, selector)
}

// tracks returns both tracks of a shop, with a Service each.
func tracks(tag string) []string {
	return []string{
		pods("shop", "stable", 1, "v1"), pods("shop-canary", "canary", 1, tag),
		service("shop", "pods: shop"), service("shop-canary", "pods: shop-canary"),
	}
}

// plain returns a shop without a router: one Service selects both tracks.
func plain(tag string) []string {
	return []string{
		strings.ReplaceAll(pods("plain", "stable", 1, "v1"), "app: shop", "app: plain"),
		strings.ReplaceAll(pods("plain-canary", "canary", 1, tag), "app: shop", "app: plain"),
		service("plain", "app: plain"),
	}
}

// scaler is KEDA's object for the canary of plain.
func scaler() string {
	return "\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: plain}\nspec: {scaleTargetRef: {name: plain-canary}}"
}

func ingress(name, host, service, annotations string) string {
	return fmt.Sprintf("\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %s, annotations: {%s}}\n"+
		"spec: {rules: [{host: %s, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %s, port: {number: 80}}}}]}}]}", name, annotations, host, service)
}

// split returns an Ingress and its canary Ingress.
func split(mark string) []string {
	const nginx = "nginx.ingress.kubernetes.io/canary"
	return []string{
		ingress("shop", "shop.localhost", "shop", "mark: "+mark),
		ingress("shop-canary", "shop.localhost", "shop-canary", fmt.Sprintf(`%s: "true", %s-weight: "20", mark: %s`, nginx, nginx, mark)),
	}
}

// custom returns routing objects of every other router, with that name, with a mark, and with canary as the name of the canary's backend.
func custom(name, mark, canary string) []string {
	weighted := "[{name: shop, port: 80, weight: 80}, {name: " + canary + ", port: 80, weight: 20}]"
	subsets := "[{destination: {host: all, subset: shop}, weight: 80}, {destination: {host: all, subset: " + canary + "}, weight: 20}]"
	upstreams := "upstreams: [{name: old, service: shop}, {name: new, service: " + canary + "}]"
	splits := "[{weight: 80, action: {pass: old}}, {weight: 20, action: {pass: new}}]"
	var all []string
	for _, o := range [][3]string{
		{"gateway.networking.k8s.io/v1", "HTTPRoute", "{rules: [{backendRefs: " + weighted + "}]}"},
		{"gateway.networking.k8s.io/v1", "GRPCRoute", "{rules: [{backendRefs: " + weighted + "}]}"},
		{"gateway.networking.k8s.io/v1alpha2", "TCPRoute", "{rules: [{backendRefs: " + weighted + "}]}"},
		{"gateway.networking.k8s.io/v1", "TLSRoute", "{rules: [{backendRefs: " + weighted + "}]}"},
		{"gateway.networking.k8s.io/v1alpha2", "UDPRoute", "{rules: [{backendRefs: " + weighted + "}]}"},
		{"networking.istio.io/v1beta1", "VirtualService", "{hosts: [shop.example], http: [{route: " + subsets + "}]}"},
		{"networking.istio.io/v1beta1", "DestinationRule", "{host: all, subsets: [{name: shop, labels: {track: stable}}, {name: shop-canary, labels: {track: canary}}]}"},
		{"traefik.io/v1alpha1", "TraefikService", "{weighted: {services: " + weighted + "}}"},
		{"traefik.io/v1alpha1", "IngressRoute", "{routes: [{match: PathPrefix(`/`), kind: Rule, services: " + weighted + "}]}"},
		{"traefik.io/v1alpha1", "IngressRouteTCP", "{routes: [{match: HostSNI(`*`), services: " + weighted + "}]}"},
		{"projectcontour.io/v1", "HTTPProxy", "{virtualhost: {fqdn: shop.example}, routes: [{services: " + weighted + "}]}"},
		{"k8s.nginx.org/v1", "VirtualServer", "{" + upstreams + ", routes: [{path: /, splits: " + splits + "}]}"},
		{"k8s.nginx.org/v1", "VirtualServerRoute", "{" + upstreams + ", subroutes: [{path: /, splits: " + splits + "}]}"},
		{"route.openshift.io/v1", "Route", "{to: {name: shop, weight: 80}, alternateBackends: [{name: " + canary + ", weight: 20}]}"},
		{"zalando.org/v1", "RouteGroup", "{backends: [{name: old, serviceName: shop}, {name: new, serviceName: " + canary + "}], defaultBackends: [{backendName: old, weight: 80}, {backendName: new, weight: 20}]}"},
	} {
		all = append(all, fmt.Sprintf("\napiVersion: %s\nkind: %s\nmetadata: {name: %s, annotations: {mark: %s}}\nspec: %s", o[0], o[1], name, mark, o[2]))
	}
	return all
}

// others returns an object of every other kind that a release's chart renders, with that name and mark.
func others(name, mark string) []string {
	none := "{matchLabels: {app: none}}"
	var all []string
	for _, o := range [][3]string{
		{"v1", "ConfigMap", "data: {mark: " + mark + "}"},
		{"v1", "ServiceAccount", "automountServiceAccountToken: false"},
		{"v1", "Service", "spec: {selector: {app: none}, ports: [{port: 80}]}"},
		{"autoscaling/v2", "HorizontalPodAutoscaler", "spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}}"},
		{"keda.sh/v1alpha1", "ScaledObject", "spec: {scaleTargetRef: {name: none}}"},
		{"policy/v1", "PodDisruptionBudget", "spec: {maxUnavailable: 1, selector: " + none + "}"},
		{"monitoring.coreos.com/v1", "ServiceMonitor", "spec: {selector: " + none + "}"},
	} {
		all = append(all, fmt.Sprintf("\napiVersion: %s\nkind: %s\nmetadata: {name: %s, annotations: {mark: %s}}\n%s", o[0], o[1], name, mark, o[2]))
	}
	return append(all, ingress(name, name+".localhost", "shop", "mark: "+mark), strings.ReplaceAll(pods(name, "canary", 0, "v1"), "app: shop", "app: "+name))
}

// hook is a Job that runs before a rollback to the revision.
const hook = `
apiVersion: batch/v1
kind: Job
metadata: {name: before, annotations: {helm.sh/hook: pre-rollback, helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded"}}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, containers: [{name: before, image: backout, args: [--help]}]}}`

// everything returns a revision of a release with objects of all kinds: some that every revision has, and some of this revision only.
func everything(tag string) []string {
	all := append(tracks(tag), service("all", "app: shop"), hook)
	all = append(append(all, split(tag)...), custom("shop", tag, "shop-canary")...)
	all = append(all, others("stays", tag)...)
	// The rollback recreates or deletes them.
	return append(append(all, others("only-"+tag, tag)...), custom("only-"+tag, tag, "shop-beta")...)
}

// upgrade makes the release's next revision of those objects with the real helm, as the cluster's admin.
func (c *cluster) upgrade(t *testing.T, namespace, release string, objects []string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "chart")
	for name, text := range map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: " + release + "\nversion: 1.0.0\n",
		"templates/all.yaml": strings.Join(objects, "\n---"),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := c.Helm(limited(t), "upgrade", "--install", release, dir, "--namespace", namespace); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
