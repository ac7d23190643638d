package helm

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// maxDangers bounds the dangers of one kind; the others are counted.
const maxDangers = 10

// maxErrorText bounds the quotation of an error, in runes. For an immutable selector,
// the API server quotes the whole selector, twice.
const maxErrorText = 300

// limitDangers sorts dangers by kind, drops duplicates, and counts those of a kind that
// are too many to read.
func limitDangers(dangers []rollback.Danger) []rollback.Danger {
	slices.SortFunc(dangers, func(a, b rollback.Danger) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What))
	})
	dangers = slices.Compact(dangers)
	var limited []rollback.Danger
	for i := 0; i < len(dangers); {
		kind := dangers[i].Kind
		n := 0
		for n < len(dangers)-i && dangers[i+n].Kind == kind {
			n++
		}
		shown := n
		if n > maxDangers {
			shown = maxDangers - 1
		}
		limited = append(limited, dangers[i:i+shown]...)
		if n > shown {
			limited = append(limited, rollback.Danger{Kind: kind, What: fmt.Sprintf("%d more of kind %s", n-shown, kind)})
		}
		i += n
	}
	return limited
}

// errorText quotes an error on one short line.
func errorText(err error) string {
	return rollback.Short(rollback.Printable(err.Error()), maxErrorText)
}

// title names an object in a text: Deployment web, with its namespace if that is not
// the release's.
func title(k rollback.Key, kind, namespace, name string) string {
	if namespace == "" || namespace == k.Namespace {
		return kind + " " + name
	}
	return kind + " " + namespace + "/" + name
}

// stableDangers returns the workloads of the stable track whose pods the rollback would
// replace or delete. Without a canary there is no stable track to protect.
func stableDangers(track rollback.Track, k rollback.Key, suspect, target rollback.Manifest) []rollback.Danger {
	targets := make(map[string]workload)
	for _, w := range workloadsOf(track, k.Namespace, target) {
		targets[w.id] = w
	}
	var found []rollback.Danger
	for _, w := range stableTrack(track, k, suspect) {
		name := title(k, w.Kind, w.Namespace, w.Name)
		next, stays := targets[w.id]
		switch {
		case !stays:
			found = append(found, rollback.Danger{Kind: rollback.DangerStable, What: "the rollback would delete " + name + ", which is not the canary"})
		case !reflect.DeepEqual(w.Template, next.Template):
			found = append(found, replacedPods(name))
		}
	}
	return found
}

func replacedPods(name string) rollback.Danger {
	return rollback.Danger{Kind: rollback.DangerStable, What: "the rollback would replace the pods of " + name + ", which is not the canary"}
}

// stableTrack returns the workloads of the stable track; none without a canary.
func stableTrack(track rollback.Track, k rollback.Key, suspect rollback.Manifest) []workload {
	all := workloadsOf(track, k.Namespace, suspect)
	if !slices.ContainsFunc(all, workload.ofCanary) {
		return nil
	}
	return slices.DeleteFunc(all, func(w workload) bool {
		return w.Canary || w.Namespace != k.Namespace || w.isJob() // a rollback writes no workload of another namespace, and a Job serves nothing
	})
}

// stableIDs returns the identities of the stable track's workloads.
func stableIDs(track rollback.Track, k rollback.Key, suspect rollback.Manifest) map[string]bool {
	found := make(map[string]bool)
	for _, w := range stableTrack(track, k, suspect) {
		found[w.id] = true
	}
	return found
}

// samePods reports whether the API server would keep the pods of a workload. Both have its
// defaults.
func samePods(live, updated *unstructured.Unstructured) bool {
	before, _, _ := unstructured.NestedFieldNoCopy(live.Object, "spec", "template")
	after, _, _ := unstructured.NestedFieldNoCopy(updated.Object, "spec", "template")
	return equalValues(before, after)
}

// secretDangers returns the Secrets that the two revisions declare differently. No text
// contains their data.
func secretDangers(k rollback.Key, suspect, target rollback.Manifest) []rollback.Danger {
	current, targets := secretsOf(k, suspect), secretsOf(k, target)
	var found []rollback.Danger
	for id, s := range current {
		// deletionDangers has those that only the suspect revision declares.
		if next, stays := targets[id]; stays && !reflect.DeepEqual(secretData(s), secretData(next)) {
			found = append(found, secretDanger(title(k, "Secret", s.GetNamespace(), s.GetName()), oldValue))
		}
	}
	return found
}

// oldValue says what happens to a Secret that the rollback changes.
const oldValue = "would get an old value back"

func secretDanger(name, what string) rollback.Danger {
	return rollback.Danger{Kind: rollback.DangerSecret, What: name + " " + what}
}

func secretsOf(k rollback.Key, all rollback.Manifest) map[string]*unstructured.Unstructured {
	found := make(map[string]*unstructured.Unstructured)
	for _, object := range all {
		if o := (&unstructured.Unstructured{Object: object}); o.GetKind() == "Secret" && o.GetAPIVersion() == "v1" {
			found[identity(k.Namespace, object)] = o
		}
	}
	return found
}

// secretData returns a Secret's data as the API server would store it: stringData
// overrides data.
func secretData(o *unstructured.Unstructured) map[string]any {
	all := map[string]any{"": o.Object["type"]}
	data, _ := o.Object["data"].(map[string]any)
	maps.Copy(all, data)
	texts, _ := o.Object["stringData"].(map[string]any)
	for key, value := range texts {
		text, _ := value.(string)
		all[key] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	return all
}

// replicasDangers returns the autoscaled workloads that run more pods than the target's
// autoscaler allows. live are the live objects by identity.
func replicasDangers(k rollback.Key, target rollback.Manifest, live map[string]rollback.Object) []rollback.Danger {
	running := make(map[string]int64)
	for _, object := range live {
		o := &unstructured.Unstructured{Object: object}
		if n, ok := replicasOf(o); ok {
			running[o.GetKind()+"/"+cmp.Or(o.GetNamespace(), k.Namespace)+"/"+o.GetName()] = n
		}
	}
	var found []rollback.Danger
	for _, object := range target {
		o := &unstructured.Unstructured{Object: object}
		spec, _ := object["spec"].(map[string]any)
		most, limited := integer(spec["maxReplicas"])
		if o.GetKind() != "HorizontalPodAutoscaler" || !limited {
			continue
		}
		ref, _ := spec["scaleTargetRef"].(map[string]any)
		kind, _ := ref["kind"].(string)
		name, _ := ref["name"].(string)
		namespace := cmp.Or(o.GetNamespace(), k.Namespace)
		if n := running[kind+"/"+namespace+"/"+name]; n > most {
			found = append(found, rollback.Danger{
				Kind: rollback.DangerReplicas,
				What: fmt.Sprintf("%s has %d replicas, and HorizontalPodAutoscaler %s would limit it to %d",
					title(k, kind, namespace, name), n, o.GetName(), most),
			})
		}
	}
	return found
}
