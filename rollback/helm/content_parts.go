package helm

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// revisionLabels are labels that charts change with every chart version, though
// the pods run the same.
func revisionLabels() []string {
	return []string{
		"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "chart", "heritage",
	}
}

// replicaFields are the fields of a spec that say how many pods run.
func replicaFields() []string {
	return []string{"replicas", "minReplicas", "maxReplicas", "minReplicaCount", "maxReplicaCount", "idleReplicaCount"}
}

// template returns a workload's pod template as content.
func (d declaration) template(w workload) map[string]any {
	return map[string]any{
		"labels": d.texts(w.Template, "labels"), "spec": w.Template["spec"],
	}
}

// object returns an object that makes no pods as content.
func (d declaration) object(o rollback.Object) map[string]any {
	part := map[string]any{"labels": d.texts(o, "labels"), "annotations": d.annotations(o)}
	for name, value := range o {
		switch name {
		case "apiVersion", "kind", "metadata", "status":
		case "spec":
			spec, ok := value.(map[string]any)
			if !ok {
				part[name] = value
				continue
			}
			part[name] = withoutWeights(without(spec, replicaFields()))
		case "data", "stringData", "binaryData":
			part[name] = value
		default:
			part[name] = withoutWeights(value)
		}
	}
	return part
}

// texts returns the labels or annotations of an object that do not name its revision.
func (d declaration) texts(o rollback.Object, part string) map[string]any {
	metadata, _ := o["metadata"].(map[string]any)
	all, _ := metadata[part].(map[string]any)
	kept := make(map[string]any, len(all))
	for key, value := range all {
		if !d.namesRevision(key, value) {
			kept[key] = value
		}
	}
	return kept
}

// annotations returns those that a controller may read, which have a domain, without
// weights. Others are notes, checksums or random texts.
func (d declaration) annotations(o rollback.Object) map[string]any {
	kept := d.texts(o, "annotations")
	for key, value := range kept {
		domain, name, _ := strings.Cut(key, "/")
		text, _ := value.(string)
		var inner any
		switch {
		case !strings.Contains(domain, ".") || strings.Contains(strings.ToLower(name), "weight") || domain == "meta.helm.sh":
			delete(kept, key)
		case strings.HasPrefix(strings.TrimSpace(text), "{") && json.Unmarshal([]byte(text), &inner) == nil:
			kept[key] = withoutWeights(inner)
		}
	}
	return kept
}

// namesRevision reports whether a label or annotation names the revision, the chart's
// version or a time.
func (d declaration) namesRevision(key string, value any) bool {
	text, _ := value.(string)
	switch {
	case slices.Contains(revisionLabels(), key), isTime(text):
		return true
	case strings.Contains(strings.ToLower(key), "revision"):
		return d.number != "" && strings.HasSuffix(text, d.number)
	default:
		// A bare number may be anything.
		return strings.ContainsAny(text, ".-") && slices.Contains(d.names, text)
	}
}

// without returns a copy of the map that lacks the fields.
func without(all map[string]any, fields []string) map[string]any {
	kept := make(map[string]any, len(all))
	for name, value := range all {
		if !slices.Contains(fields, name) {
			kept[name] = value
		}
	}
	return kept
}

// withoutWeights returns a copy of the node without the weights of routes and the
// certificates that charts generate for webhooks.
func withoutWeights(node any) any {
	switch n := node.(type) {
	case map[string]any:
		kept := make(map[string]any, len(n))
		for name, value := range n {
			_, digits := integer(value)
			if strings.EqualFold(name, "weight") && (digits || value == nil) || name == "caBundle" {
				continue
			}
			kept[name] = withoutWeights(value)
		}
		return kept
	case []any:
		kept := make([]any, len(n))
		for i, value := range n {
			kept[i] = withoutWeights(value)
		}
		return kept
	default:
		return node
	}
}

// podAsItRuns returns the pod of a workload whatever its track calls it: without labels,
// with the data of its configuration in the place of the names, and without scheduling.
// It is the same when the canary's pods become the stable track's.
func (d declaration) podAsItRuns(w workload, byID map[string]rollback.Object) any {
	spec, _ := w.Template["spec"].(map[string]any)
	spec = without(spec, []string{"affinity", "topologySpreadConstraints", "hostname", "subdomain", "serviceAccountName", "serviceAccount", "nodeSelector", "tolerations"})
	used := make(map[string]bool)
	addReferences(used, w.Namespace, spec)
	var configuration []string
	for id := range used {
		if o, ok := byID[id]; ok {
			configuration = append(configuration, digestOf([]any{o["data"], o["stringData"], o["binaryData"]}))
		}
	}
	slices.Sort(configuration)
	names := append(d.track.Names(), w.Name, "stable", "primary", "baseline")
	for id := range used {
		if kind, name, _ := strings.Cut(id, "/"+w.Namespace+"/"); slices.Contains([]string{"ConfigMap", "Secret", "PersistentVolumeClaim"}, kind) {
			names = append(names, name)
		}
	}
	return []any{anonymous(spec, names), configuration}
}

// anonymous returns the node with those names replaced: of the workload, of its configuration
// and of tracks.
func anonymous(node any, names []string) any {
	switch n := node.(type) {
	case map[string]any:
		kept := make(map[string]any, len(n))
		for name, value := range n {
			kept[name] = anonymous(value, names)
		}
		return kept
	case []any:
		kept := make([]any, len(n))
		for i, value := range n {
			kept[i] = anonymous(value, names)
		}
		return kept
	case string:
		if slices.Contains(names, n) {
			return "-"
		}
		return n
	default:
		return node
	}
}

// scaleTarget returns kind and name of what an autoscaler scales.
func scaleTarget(o rollback.Object) (kind, name string) {
	kind, _, _ = unstructured.NestedString(o, "spec", "scaleTargetRef", "kind")
	name, _, _ = unstructured.NestedString(o, "spec", "scaleTargetRef", "name")
	return kind, name
}
