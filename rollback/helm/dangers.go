package helm

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// maxDangers bounds the dangers of one kind; the rest is counted.
const maxDangers = 10

// maxWords bounds what is quoted of the API server, in bytes. An immutable
// selector is quoted whole, twice.
const maxWords = 300

// bounded sorts dangers by kind and leaves out what nobody would read.
func bounded(dangers []rollback.Danger) []rollback.Danger {
	slices.SortFunc(dangers, func(a, b rollback.Danger) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What))
	})
	dangers = slices.Compact(dangers)
	var kept []rollback.Danger
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
		kept = append(kept, dangers[i:i+shown]...)
		if n > shown {
			kept = append(kept, rollback.Danger{Kind: kind, What: fmt.Sprintf("%d more are %s", n-shown, kind)})
		}
		i += n
	}
	return kept
}

// words makes one short sentence of what the API server says.
func words(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + " ..."
	}
	return text
}

// title names an object for people: Deployment web, and its namespace if that is
// not the release's.
func title(k rollback.Key, kind, namespace, name string) string {
	if namespace == "" || namespace == k.Namespace {
		return kind + " " + name
	}
	return kind + " " + namespace + "/" + name
}

// hookDangers names the upgrade hooks that ran since the target. A revision that
// was made by a rollback has the hooks of an older one and ran none of these.
func hookDangers(history rollback.History, p rollback.Plan) []rollback.Danger {
	var found []rollback.Danger
	for _, r := range history {
		if r.Number <= p.Target || r.Number > p.Accused.Number || len(r.Hooks) == 0 || strings.HasPrefix(r.Description, "Rollback ") {
			continue
		}
		found = append(found, rollback.Danger{
			Kind: rollback.DangerHook,
			What: fmt.Sprintf("the upgrade to revision %d ran %s, which no rollback undoes", r.Number, strings.Join(r.Hooks, ", ")),
		})
	}
	return found
}

// stableDangers names the workloads beside the canary whose pods the rollback
// would replace or remove. Without a canary there is no stable track to protect.
func stableDangers(k rollback.Key, accused, target rollback.Manifest) []rollback.Danger {
	was := workloadsOf(k.Namespace, accused)
	if !slices.ContainsFunc(was, workload.ofCanary) {
		return nil
	}
	will := make(map[string]workload)
	for _, w := range workloadsOf(k.Namespace, target) {
		will[w.id] = w
	}
	var found []rollback.Danger
	for _, w := range was {
		if w.canary {
			continue
		}
		name := title(k, w.kind, w.namespace, w.name)
		next, stays := will[w.id]
		switch {
		case !stays:
			found = append(found, rollback.Danger{Kind: rollback.DangerStable, What: "the rollback would delete " + name + ", which is not the canary"})
		case !reflect.DeepEqual(w.raw, next.raw):
			found = append(found, rollback.Danger{Kind: rollback.DangerStable, What: "the rollback would replace the pods of " + name + ", which is not the canary"})
		}
	}
	return found
}

// secretDangers names the Secrets that the revisions declare differently. What
// is in them is never said.
func secretDangers(k rollback.Key, accused, target rollback.Manifest) []rollback.Danger {
	was, will := secretsOf(k, accused), secretsOf(k, target)
	var found []rollback.Danger
	for id, s := range was {
		// One that is only in the accused revision is found where it would be deleted.
		if next, stays := will[id]; stays && !reflect.DeepEqual(secretData(s), secretData(next)) {
			found = append(found, secretDanger(title(k, "Secret", s.GetNamespace(), s.GetName()), oldValue))
		}
	}
	return found
}

// oldValue is what happens to a Secret that the rollback changes.
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

// secretData returns a Secret's data as the API server would store it: what is
// in stringData wins.
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

// deletionDangers names what is lost for ever when the live object is deleted.
func deletionDangers(name string, live *unstructured.Unstructured) []rollback.Danger {
	gone := "the rollback would delete " + name
	switch live.GetKind() {
	case "Namespace":
		return []rollback.Danger{{Kind: rollback.DangerNamespace, What: gone + " and all that is in it"}}
	case "CustomResourceDefinition":
		return []rollback.Danger{{Kind: rollback.DangerNamespace, What: gone + " and all objects of that kind, in every namespace"}}
	case "PersistentVolumeClaim":
		return []rollback.Danger{{Kind: rollback.DangerPVC, What: gone}}
	case "StatefulSet":
		policy, _, _ := unstructured.NestedString(live.Object, "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted")
		if policy == "Delete" {
			return []rollback.Danger{{Kind: rollback.DangerPVC, What: gone + ", and its PersistentVolumeClaims with it"}}
		}
	case "Secret":
		return []rollback.Danger{secretDanger(name, "would be deleted")}
	}
	return nil
}

// replicasDangers names the autoscaled workloads that run more pods than the
// target's autoscaler allows. live has the live objects by identity.
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
				What: fmt.Sprintf("%s would be limited to %d replicas by HorizontalPodAutoscaler %s, and has %d",
					title(k, kind, namespace, name), most, o.GetName(), n),
			})
		}
	}
	return found
}
