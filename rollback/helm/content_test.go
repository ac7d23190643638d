package helm

import (
	"slices"
	"strings"
	"testing"
)

// base is a manifest with a canary that reads a ConfigMap and a Secret, and with objects
// that no pod reads.
const base = `---
# Source: web/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: web-config}
data: {greeting: hello}
---
# Source: web/templates/unused.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: web-dashboard}
data: {panels: "4"}
---
apiVersion: v1
kind: Secret
metadata: {name: web-secret}
data: {key: c2VjcmV0}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-canary
  labels: {helm.sh/chart: web-1.0.0, app.kubernetes.io/version: v1}
spec:
  replicas: 2
  template:
    metadata:
      labels: {track: canary, helm.sh/chart: web-1.0.0, app.kubernetes.io/version: v1}
    spec:
      containers:
        - name: web
          image: registry:5000/web:v1
          ports: [{containerPort: 8080}]
          env: [{name: COLOR, value: blue}, {name: KEY, valueFrom: {secretKeyRef: {name: web-secret, key: key}}}]
          envFrom: [{configMapRef: {name: web-config}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web-canary
  annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "20"}
`

// digest is that of the content of a release in shop, at revision 3 of the chart web-1.0.0;
// "" if the manifest cannot be decoded.
func digest(manifest string) (digest string, versions []string) {
	c := contentAt(manifest, "3", "web-1.0.0")
	return c.digest, c.versions
}

func contentAt(manifest, number string, names ...string) content {
	all, err := decodeManifest(manifest)
	if err != nil {
		return content{}
	}
	return contentOf(declaration{namespace: "shop", objects: all, number: number, names: names})
}

func TestContent(t *testing.T) {
	before, _ := digest(base)
	if before == "" {
		t.Fatal("a manifest with workloads has a content")
	}
	for _, c := range []struct {
		what, old, new string
		counts         bool
	}{
		{"the canary's weight", `canary-weight: "20"`, `canary-weight: "50"`, false},
		{"the number of pods", "replicas: 2", "replicas: 9", false},
		{"the chart's label", "helm.sh/chart: web-1.0.0", "helm.sh/chart: web-2.0.0", false},
		{"the version label", "app.kubernetes.io/version: v1", "app.kubernetes.io/version: v2", false},
		{"a label of the workload itself", "labels: {helm.sh/chart", "labels: {team: a, helm.sh/chart", false},
		{"a ConfigMap that no pod of the stable track uses alone", `panels: "4"`, `panels: "5"`, true},
		{"a comment", "# Source: web/templates/unused.yaml", "# Source: web/templates/other.yaml", false},
		{"an empty document", "---\napiVersion: apps/v1", "---\n---\n# nothing\n---\napiVersion: apps/v1", false},
		{"the order of fields", "{name: COLOR, value: blue}", "{value: blue, name: COLOR}", false},
		{"the image", "web:v1\n", "web:v2\n", true},
		{"a variable", "value: blue", "value: green", true},
		{"another variable", "[{name: COLOR", "[{name: NEW, value: x}, {name: COLOR", true},
		{"data of a ConfigMap in use", "greeting: hello", "greeting: bye", true},
		{"data of a Secret in use", "c2VjcmV0", "b3RoZXI=", true},
		{"a pod's own label", "labels: {track: canary", "labels: {tier: a, track: canary", true},
		{"a workload of the stable track", "---\napiVersion: networking", "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}\nspec: {template: {spec: {containers: [{name: a, image: a}]}}}\n---\napiVersion: networking", false},
	} {
		changed := strings.ReplaceAll(base, c.old, c.new)
		if changed == base {
			t.Fatalf("%s: the manifest has no %q", c.what, c.old)
		}
		if after, _ := digest(changed); after == "" || (after != before) != c.counts {
			t.Errorf("%s is part of the content: want %t, got %t", c.what, c.counts, after != before)
		}
	}
}

// TestContentUses has the ways in which a pod can use a ConfigMap or a Secret.
func TestContentUses(t *testing.T) {
	pod := func(spec string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {" + spec + "}\n---\n" +
			"apiVersion: v1\nkind: %KIND%\nmetadata: {name: used}\n%FIELD%: {a: %VALUE%}\n"
	}
	for what, c := range map[string]struct{ kind, field, spec string }{
		"volume":                {"ConfigMap", "data", "volumes: [{name: v, configMap: {name: used}}]"},
		"secret volume":         {"Secret", "data", "volumes: [{name: v, secret: {secretName: used}}]"},
		"projected":             {"ConfigMap", "data", "volumes: [{name: v, projected: {sources: [{configMap: {name: used}}]}}]"},
		"projected secret":      {"Secret", "data", "volumes: [{name: v, projected: {sources: [{secret: {name: used}}]}}]"},
		"envFrom":               {"ConfigMap", "data", "containers: [{name: c, envFrom: [{configMapRef: {name: used}}]}]"},
		"secret envFrom":        {"Secret", "stringData", "containers: [{name: c, envFrom: [{secretRef: {name: used}}]}]"},
		"env":                   {"ConfigMap", "binaryData", "containers: [{name: c, env: [{name: A, valueFrom: {configMapKeyRef: {name: used, key: a}}}]}]"},
		"env of init container": {"Secret", "data", "initContainers: [{name: c, env: [{name: A, valueFrom: {secretKeyRef: {name: used, key: a}}}]}]"},
	} {
		t.Run(what, func(t *testing.T) {
			contents := make([]string, 2)
			for i, value := range []string{"b25l", "dHdv"} {
				contents[i], _ = digest(strings.NewReplacer("%KIND%", c.kind, "%FIELD%", c.field, "%VALUE%", value).Replace(pod(c.spec)))
			}
			if contents[0] == "" || contents[0] == contents[1] {
				t.Error("the data that a pod reads is part of the content")
			}
		})
	}
}

// TestContentNamespaces: the same name in another namespace is another object.
func TestContentNamespaces(t *testing.T) {
	const manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: web%s}\nspec: {containers: [{name: c, envFrom: [{configMapRef: {name: used}}]}]}\n---\n" +
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: used, namespace: shop}\ndata: {a: here}\n---\n" +
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: used, namespace: other}\ndata: {a: there}\n"
	at := func(namespace string) string { return strings.Replace(manifest, "%s", namespace, 1) }
	here, _ := digest(at(""))
	named, _ := digest(at(", namespace: shop"))
	other, _ := digest(at(", namespace: other"))
	if here != named || here == other {
		t.Error("an object without a namespace is in the release's, and one in another namespace is another object")
	}
	// The stable track uses shop/used alone.
	canary := "---\nkind: Pod\nmetadata: {name: new, labels: {track: canary}}\nspec: {containers: [{name: c, image: a}]}\n"
	before, _ := digest(at("") + canary)
	if changed, _ := digest(strings.Replace(at(""), "here", "changed", 1) + canary); changed != before {
		t.Error("a pod uses objects of its own namespace")
	}
	if changed, _ := digest(strings.Replace(at(""), "there", "changed", 1) + canary); changed == before {
		t.Error("a pod uses no object of another namespace")
	}
}

// TestContentKinds: every kind that makes pods is a workload.
func TestContentKinds(t *testing.T) {
	template := "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'web:v1'}]}}"
	for kind, spec := range map[string]string{
		"Deployment": template, "StatefulSet": template, "DaemonSet": template, "ReplicaSet": template,
		"Rollout": template, "CronJob": "schedule: '* * * * *', jobTemplate: {spec: {" + template + "}}",
		"Pod": "containers: [{name: c, image: 'web:v1'}]",
	} {
		manifest := "apiVersion: x/v1\nkind: " + kind + "\nmetadata: {name: web}\nspec: {" + spec + "}\n"
		before, versions := digest(manifest)
		after, _ := digest(strings.Replace(manifest, "web:v1", "web:v2", 1))
		if before == "" || before == after {
			t.Errorf("%s: its image is part of the content", kind)
		}
		if !slices.Equal(versions, []string{"v1"}) {
			t.Errorf("%s: its version is its image's tag: got %q", kind, versions)
		}
	}
}

func TestManifestsWithoutContent(t *testing.T) {
	for what, manifest := range map[string]string{
		"empty": "", "comments": "---\n# Source: x\n---\n# nothing\n", "no workload": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n",
		"no YAML": "kind: [", "no object": "- a\n- b\n", "text": "hello", "cut off": base + "---\nkind: {",
	} {
		if content, versions := digest(manifest); content != "" || versions != nil {
			t.Errorf("%s: a manifest without workloads, or that cannot be decoded, has no content: got %s, %q", what, content, versions)
		}
	}
}

// TestContentIsLarge: one line of a ConfigMap can be longer than any buffer.
func TestContentIsLarge(t *testing.T) {
	large := strings.Replace(base, "greeting: hello", "greeting: "+strings.Repeat("x", 900_000), 1)
	before, _ := digest(large)
	if before == "" {
		t.Error("a large object is read like a small one")
	}
	if changed, _ := digest(strings.Replace(large, "xx}", "xy}", 1)); changed == before {
		t.Error("a large object is read to its end")
	}
}

func TestVersions(t *testing.T) {
	workload := func(name, labels, image string) string {
		return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec: {template: {metadata: {labels: {" +
			labels + "}}, spec: {initContainers: [{name: i, image: 'init:v9'}], containers: [{name: c, image: '" + image + "'}]}}}\n"
	}
	for _, c := range []struct {
		rule, manifest string
		want           []string
	}{
		{"the canary's versions count, not the stable track's", workload("web", "track: stable, version: v1", "web:v1") + workload("canary", "track: canary, version: v2", "web:v2"), []string{"v2"}},
		{"a name alone makes no canary", workload("web", "version: v1", "web:v1") + workload("web-canary", "version: v2", "web:v2"), []string{"v1", "v2"}},
		{"a chart's appVersion and its image's tag may disagree: both count", workload("web", "track: canary, app.kubernetes.io/version: 1.16.0", "web:v3"), []string{"1.16.0", "v3"}},
		{"without a canary track all pods count", workload("a", "version: v1", "web:v1") + workload("b", "version: v2", "web:v3"), []string{"v1", "v2", "v3"}},
		{"an image without a tag has no version", workload("web", "track: canary", "registry:5000/web"), nil},
	} {
		if _, got := digest(c.manifest); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.rule, got, c.want)
		}
	}
}

func TestTag(t *testing.T) {
	const sum = "@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	for image, want := range map[string]string{
		"web": "", "web:v3": "v3", "registry:5000/web": "", "registry:5000/web:v3": "v3", "registry:5000/team/web:v3" + sum: "v3",
		"web" + sum: "", "registry.example/web:1.2-rc.1": "1.2-rc.1", "": "",
	} {
		if got := tag(image); got != want {
			t.Errorf("the tag of %q is %q: got %q", image, want, got)
		}
	}
}
