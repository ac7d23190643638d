package helm_test

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is a kind that the server serves.
type kind struct {
	kind string
	form any
	// cluster says that its objects are not namespaced.
	cluster bool
}

// kinds are the kinds that the server serves, by the path of their resource.
func kinds() map[string]kind {
	return map[string]kind{
		"/api/v1/secrets":                               {"Secret", corev1.Secret{}, false},
		"/api/v1/configmaps":                            {"ConfigMap", corev1.ConfigMap{}, false},
		"/api/v1/persistentvolumeclaims":                {"PersistentVolumeClaim", corev1.PersistentVolumeClaim{}, false},
		"/api/v1/namespaces":                            {"Namespace", corev1.Namespace{}, true},
		"/apis/apps/v1/deployments":                     {"Deployment", appsv1.Deployment{}, false},
		"/apis/apps/v1/statefulsets":                    {"StatefulSet", appsv1.StatefulSet{}, false},
		"/apis/apps/v1/daemonsets":                      {"DaemonSet", appsv1.DaemonSet{}, false},
		"/apis/batch/v1/jobs":                           {"Job", batchv1.Job{}, false},
		"/apis/networking.k8s.io/v1/ingresses":          {"Ingress", networkingv1.Ingress{}, false},
		"/apis/autoscaling/v2/horizontalpodautoscalers": {"HorizontalPodAutoscaler", autoscalingv2.HorizontalPodAutoscaler{}, false},
		"/apis/shop.example/v1/scalers":                 {"Scaler", nil, false},
		"/apis/shop.example/v1/topics":                  {"Topic", nil, false},
		"/apis/shop.example/v1/sealedsecrets":           {"SealedSecret", nil, false},
		"/apis/flagger.app/v1beta1/canaries":            {"Canary", nil, false},
	}
}

// locate splits a path into the resource and the object's name. It drops the namespace:
// the tests have one.
func locate(path string) (resource, name string, ok bool) {
	group, rest, namespaced := strings.Cut(path, "/namespaces/")
	parts := strings.Split(rest, "/")
	if !namespaced || len(parts) < 2 {
		name, ok = strings.CutPrefix(path, "/api/v1/namespaces/")
		return "/api/v1/namespaces", name, ok || path == "/api/v1/namespaces"
	}
	resource = group + "/" + parts[1]
	if len(parts) > 2 {
		name = parts[2]
	}
	_, ok = kinds()[resource]
	return resource, name, ok
}

// discover answers with what the server serves: all kinds but the one that is gone.
func discover(w http.ResponseWriter, path, gone string) {
	switch path {
	case "/version":
		answer(w, http.StatusOK, map[string]any{"major": "1", "minor": "37", "gitVersion": "v1.37.0"})
		return
	case "/api":
		answer(w, http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions", APIVersion: "v1"}, Versions: []string{"v1"}})
		return
	case "/apis":
		list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
		for _, gv := range []schema.GroupVersion{
			{Group: "apps", Version: "v1"},
			{Group: "networking.k8s.io", Version: "v1"},
			{Group: "autoscaling", Version: "v2"},
			{Group: "batch", Version: "v1"},
			{Group: "shop.example", Version: "v1"},
			{Group: "flagger.app", Version: "v1beta1"},
		} {
			group := gv.Group
			version := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
			list.Groups = append(list.Groups, metav1.APIGroup{Name: group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version})
		}
		answer(w, http.StatusOK, list)
		return
	}
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}}
	list.GroupVersion = strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/")
	for resource, k := range kinds() {
		if group, name := resource[:strings.LastIndex(resource, "/")], resource[strings.LastIndex(resource, "/")+1:]; group == path && resource != gone {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: name, Kind: k.kind, Namespaced: !k.cluster, Verbs: metav1.Verbs{"get", "list", "create", "update", "patch", "delete"},
			})
		}
	}
	if len(list.APIResources) == 0 {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound)
		return
	}
	slices.SortFunc(list.APIResources, func(a, b metav1.APIResource) int { return cmp.Compare(a.Name, b.Name) })
	answer(w, http.StatusOK, list)
}
