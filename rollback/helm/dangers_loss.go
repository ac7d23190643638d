package helm

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// deletionDangers returns what would be lost for good if the live object were deleted: the
// objects of every kind that is not known to hold no data.
func deletionDangers(name string, live *unstructured.Unstructured) []rollback.Danger {
	deleted := "the rollback would delete " + name
	gk := live.GroupVersionKind().GroupKind()
	switch {
	case gk == schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		return []rollback.Danger{{Kind: rollback.DangerPVC, What: deleted}}
	case gk == schema.GroupKind{Kind: "Secret"}:
		return []rollback.Danger{secretDanger(name, "would be deleted")}
	case gk == schema.GroupKind{Group: "apps", Kind: "StatefulSet"}:
		policy, _, _ := unstructured.NestedString(live.Object, "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted")
		if policy == "Delete" {
			return []rollback.Danger{{Kind: rollback.DangerPVC, What: deleted + " and its PersistentVolumeClaims"}}
		}
	case isRunning(live):
		return []rollback.Danger{{Kind: rollback.DangerJob, What: deleted + ", which runs"}}
	case !holdsNoData(gk):
		return []rollback.Danger{{Kind: rollback.DangerData, What: deleted + ", which may hold data"}}
	}
	return nil
}

// holdsNoData reports whether objects of the kind only say what is to run, who may do what,
// or where requests go: the next Helm operation that declares one makes it again as it was.
func holdsNoData(gk schema.GroupKind) bool {
	kinds, known := harmless()[gk.Group]
	return known && (len(kinds) == 0 || slices.Contains(kinds, gk.Kind))
}

// harmless returns the kinds that hold no data, by API group; all of a group that has
// none in the list.
func harmless() map[string][]string {
	return map[string][]string{
		"": {
			"ConfigMap", "Endpoints", "LimitRange", "Pod", "PodTemplate", "ReplicationController", "ResourceQuota", "Service", "ServiceAccount",
		},
		"apps":                      {"DaemonSet", "Deployment", "ReplicaSet"},
		"batch":                     {"CronJob", "Job"},
		"autoscaling":               nil,
		"autoscaling.k8s.io":        nil,
		"coordination.k8s.io":       nil,
		"discovery.k8s.io":          nil,
		"networking.k8s.io":         nil,
		"policy":                    nil,
		"rbac.authorization.k8s.io": nil,
		"gateway.networking.k8s.io": nil,
		"networking.istio.io":       nil,
		"security.istio.io":         nil,
		"telemetry.istio.io":        nil,
		"traefik.io":                nil,
		"traefik.containo.us":       nil,
		"projectcontour.io":         nil,
		"k8s.nginx.org":             {"VirtualServer", "VirtualServerRoute", "TransportServer"},
		"route.openshift.io":        nil,
		"zalando.org":               {"RouteGroup"},
		"split.smi-spec.io":         nil,
		"policy.linkerd.io":         nil,
		"cilium.io":                 {"CiliumNetworkPolicy", "CiliumEnvoyConfig"},
		"keda.sh":                   {"ScaledObject", "ScaledJob", "TriggerAuthentication"},
		"argoproj.io":               {"AnalysisTemplate", "Rollout"},
		"flagger.app":               nil,
		"cert-manager.io":           {"Certificate", "Issuer"},
		"monitoring.coreos.com":     {"AlertmanagerConfig", "PodMonitor", "Probe", "PrometheusRule", "ScrapeConfig", "ServiceMonitor"},
		"gateway.envoyproxy.io":     nil,
		"gateway.nginx.org":         nil,
	}
}

// jobDangers returns that the rollback would run the object, which it creates.
func jobDangers(name string, declared *unstructured.Unstructured) []rollback.Danger {
	if !runsOnce(declared) {
		return nil
	}
	return []rollback.Danger{{Kind: rollback.DangerJob, What: "the rollback would create " + name + ", which runs again"}}
}

// isRunning reports whether the object is a Job with pods that have not ended.
func isRunning(live *unstructured.Unstructured) bool {
	active, _, _ := unstructured.NestedFieldNoCopy(live.Object, "status", "active")
	n, _ := integer(active)
	return n > 0 && live.GroupVersionKind().GroupKind() == schema.GroupKind{Group: "batch", Kind: "Job"}
}

// resumedDangers returns that the rollback would run the object, which is suspended.
func resumedDangers(name string, declared, live *unstructured.Unstructured) []rollback.Danger {
	if suspended, _, _ := unstructured.NestedBool(live.Object, "spec", "suspend"); !suspended || !runsOnce(declared) {
		return nil
	}
	return []rollback.Danger{{Kind: rollback.DangerJob, What: "the rollback would resume " + name + ", which is suspended"}}
}

// runsOnce reports whether the object runs to its end once it is created: Jobs of any
// group, Pods that are not restarted, and the runs of workflow engines.
func runsOnce(o *unstructured.Unstructured) bool {
	if suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); suspended {
		return false
	}
	kind := o.GetKind()
	if kind == "Pod" && o.GroupVersionKind().Group == "" {
		policy, _, _ := unstructured.NestedString(o.Object, "spec", "restartPolicy")
		return policy == "Never" || policy == "OnFailure"
	}
	repeated := kind == "CronJob" || kind == "ScaledJob"
	return !repeated && (strings.HasSuffix(kind, "Job") || strings.HasSuffix(kind, "Run") || kind == "Workflow" || kind == "SparkApplication")
}
