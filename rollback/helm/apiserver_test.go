package helm_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/rest"
)

// apiServer is what Helm needs of an API server: discovery, and objects in
// memory that can be read, listed, created, replaced, patched and deleted. It
// knows a few kinds, and validates nothing but the resourceVersion of a PUT.
type apiServer struct {
	mu      sync.Mutex
	objects map[string]*unstructured.Unstructured
	version int
	// writes are the writes so far, as "PATCH ingresses/web-canary", bodies what
	// was sent with them. What was only tried out stands in trials, in the same way.
	writes, bodies, trials, trialBodies []string
	// reads counts the objects that were read whole, by resource/name.
	reads map[string]int
	// paths are those under which objects were read whole last, by resource/name.
	paths map[string]string
	// lists counts the lists that were answered.
	lists int
	// events are what a watch is told of; nil ends it at once.
	events chan *unstructured.Unstructured
	// behind is what lists that may be old are answered with, if not nil.
	behind map[string]*unstructured.Unstructured
	// before is called before each request for objects, also of a kind that is not
	// served, without mu held, if not nil. A status code other than 0 is the answer.
	before func(method, object string) int
	// refuse is what a write is answered with, tried out or not, if not nil. The
	// zero Status refuses nothing.
	refuse func(method, object string) metav1.Status
}

// kind is one that the server knows.
type kind struct {
	kind string
	form any
	// cluster says that its objects have no namespace.
	cluster bool
}

// kinds are the resources that the server knows, by their path.
func kinds() map[string]kind {
	return map[string]kind{
		"/api/v1/secrets":                               {"Secret", corev1.Secret{}, false},
		"/api/v1/configmaps":                            {"ConfigMap", corev1.ConfigMap{}, false},
		"/api/v1/persistentvolumeclaims":                {"PersistentVolumeClaim", corev1.PersistentVolumeClaim{}, false},
		"/api/v1/namespaces":                            {"Namespace", corev1.Namespace{}, true},
		"/apis/apps/v1/deployments":                     {"Deployment", appsv1.Deployment{}, false},
		"/apis/apps/v1/statefulsets":                    {"StatefulSet", appsv1.StatefulSet{}, false},
		"/apis/apps/v1/daemonsets":                      {"DaemonSet", appsv1.DaemonSet{}, false},
		"/apis/networking.k8s.io/v1/ingresses":          {"Ingress", networkingv1.Ingress{}, false},
		"/apis/autoscaling/v2/horizontalpodautoscalers": {"HorizontalPodAutoscaler", autoscalingv2.HorizontalPodAutoscaler{}, false},
		"/apis/shop.example/v1/scalers":                 {"Scaler", nil, false},
		"/apis/flagger.app/v1beta1/canaries":            {"Canary", nil, false},
	}
}

func newAPIServer(t *testing.T) (*apiServer, *rest.Config) {
	t.Helper()
	s := &apiServer{objects: make(map[string]*unstructured.Unstructured), reads: make(map[string]int), paths: make(map[string]string)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, &rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

// object returns a copy of a stored one, such as "ingresses/web-canary".
func (s *apiServer) object(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[name]
	if !ok {
		t.Fatalf("%s is not there; there are %v", name, slices.Sorted(maps.Keys(s.objects)))
	}
	return o.DeepCopy()
}

// put stores an object, with a new UID if it is not there yet.
func (s *apiServer) put(name string, o *unstructured.Unstructured) *unstructured.Unstructured {
	s.version++
	if old, ok := s.objects[name]; ok {
		o.SetUID(old.GetUID())
	} else if o.GetUID() == "" {
		o.SetUID(types.UID("uid-" + strconv.Itoa(s.version)))
	}
	o.SetResourceVersion(strconv.Itoa(s.version))
	s.objects[name] = o
	return o
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resource, name, ok := locate(r.URL.Path)
	object := resource[strings.LastIndex(resource, "/")+1:] + "/" + name
	if s.before != nil && (ok || strings.Contains(r.URL.Path, "/namespaces/")) {
		if code := s.before(r.Method, object); code != 0 {
			fail(w, code, reasons()[code])
			return
		}
	}
	if !ok {
		discover(w, r.URL.Path)
		return
	}
	if r.URL.Query().Get("watch") == "true" {
		s.watch(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method != http.MethodGet {
		s.write(w, r, resource, object)
		return
	}
	if name == "" {
		s.list(w, r, resource, object)
		return
	}
	o, ok := s.objects[object]
	switch {
	case !ok:
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	case strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata"):
		answer(w, http.StatusOK, bare(o))
	default:
		s.reads[object]++
		s.paths[object] = r.URL.Path
		answer(w, http.StatusOK, o)
	}
}

// reasons are those that the real server gives for a status code.
func reasons() map[int]metav1.StatusReason {
	return map[int]metav1.StatusReason{
		http.StatusForbidden: metav1.StatusReasonForbidden, http.StatusInternalServerError: metav1.StatusReasonInternalError,
	}
}

// bare is an object's metadata alone.
func bare(o *unstructured.Unstructured) map[string]any {
	return map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": o.Object["metadata"]}
}

// watch tells of the events, each as an object that was added. It has no initial ones.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("sendInitialEvents") {
		fail(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flusher, _ := w.(http.Flusher)
	flusher.Flush()
	for s.events != nil {
		select {
		case <-r.Context().Done():
			return
		case o := <-s.events:
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": bare(o)})
			flusher.Flush()
		}
	}
}

func (s *apiServer) list(w http.ResponseWriter, r *http.Request, resource, prefix string) {
	s.lists++
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	heads := strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList")
	items := []any{}
	objects := s.objects
	if s.behind != nil && r.URL.Query().Get("resourceVersion") == "0" {
		objects = s.behind
	}
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		o := objects[key]
		if !strings.HasPrefix(key, prefix) || !selector.Matches(labels.Set(o.GetLabels())) {
			continue
		}
		if heads {
			items = append(items, bare(o))
			continue
		}
		s.reads[key]++
		items = append(items, o.Object)
	}
	group := strings.TrimPrefix(strings.TrimPrefix(resource[:strings.LastIndex(resource, "/")], "/apis/"), "/api/")
	list := map[string]any{"apiVersion": group, "kind": kinds()[resource].kind + "List", "metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)}, "items": items}
	if heads {
		list["apiVersion"], list["kind"] = "meta.k8s.io/v1", "PartialObjectMetadataList"
	}
	answer(w, http.StatusOK, list)
}

func (s *apiServer) write(w http.ResponseWriter, r *http.Request, resource, object string) {
	body, _ := io.ReadAll(r.Body)
	sent := &unstructured.Unstructured{}
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := json.Unmarshal(body, &sent.Object); err != nil {
			fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
			return
		}
	}
	if r.Method == http.MethodPost {
		object += sent.GetName()
		if _, rest, namespaced := strings.Cut(r.URL.Path, "/namespaces/"); namespaced {
			sent.SetNamespace(strings.Split(rest, "/")[0])
		}
	}
	if s.note(r, object, body) {
		defer s.undo(object)()
	}
	if s.refuse != nil {
		if status := s.refuse(r.Method, object); status.Code != 0 {
			status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
			status.Status = metav1.StatusFailure
			answer(w, int(status.Code), status)
			return
		}
	}
	live, known := s.objects[object]
	switch {
	case r.Method == http.MethodPost && known:
		fail(w, http.StatusConflict, metav1.StatusReasonAlreadyExists)
	case r.Method == http.MethodPost:
		answer(w, http.StatusCreated, s.put(object, sent))
	case !known:
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	case r.Method == http.MethodPut && sent.GetResourceVersion() != "" && sent.GetResourceVersion() != live.GetResourceVersion():
		fail(w, http.StatusConflict, metav1.StatusReasonConflict)
	case r.Method == http.MethodPut:
		answer(w, http.StatusOK, s.put(object, sent))
	case r.Method == http.MethodPatch:
		before, _ := json.Marshal(live)
		after, err := patched(r, before, body, kinds()[resource].form)
		o := &unstructured.Unstructured{}
		if err != nil || json.Unmarshal(after, &o.Object) != nil {
			fail(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
			return
		}
		answer(w, http.StatusOK, s.put(object, o))
	case r.Method == http.MethodDelete:
		delete(s.objects, object)
		answer(w, http.StatusOK, live)
	}
}

// note keeps what was asked for, and reports whether it is to be tried out only.
// As the real one, the server takes the options of a DELETE from its body, if it
// has one.
func (s *apiServer) note(r *http.Request, object string, body []byte) bool {
	dry := r.URL.Query().Get("dryRun") == "All" && (r.Method != http.MethodDelete || len(body) == 0)
	if dry {
		s.trials, s.trialBodies = append(s.trials, r.Method+" "+object), append(s.trialBodies, string(body))
	} else {
		s.writes, s.bodies = append(s.writes, r.Method+" "+object), append(s.bodies, string(body))
	}
	return dry
}

// undo returns a function that puts the object back as it is now.
func (s *apiServer) undo(object string) func() {
	was, known := s.objects[object]
	return func() {
		delete(s.objects, object)
		if known {
			s.objects[object] = was
		}
	}
}

func patched(r *http.Request, before, patch []byte, form any) ([]byte, error) {
	if r.Header.Get("Content-Type") == string(types.MergePatchType) {
		return jsonpatch.MergePatch(before, patch)
	}
	if form == nil {
		return nil, errors.New("a custom resource knows no strategic merge patch")
	}
	return strategicpatch.StrategicMergePatch(before, patch, form)
}

// locate splits a path into the resource and the object's name; namespaces are
// left out, the tests have one.
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

func discover(w http.ResponseWriter, path string) {
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
		if group, name := resource[:strings.LastIndex(resource, "/")], resource[strings.LastIndex(resource, "/")+1:]; group == path {
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

func fail(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: fmt.Sprintf("the server says %s", reason),
	})
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}
