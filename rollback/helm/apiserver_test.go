package helm_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// apiServer is what Helm needs of an API server: discovery, and objects in memory that
// can be read, listed, created, replaced, patched and deleted. It serves a few kinds, and
// validates only the resourceVersion of a PUT.
type apiServer struct {
	mu      sync.Mutex
	objects map[string]*unstructured.Unstructured
	version int
	// writes are the writes so far, as "PATCH ingresses/web-canary", and bodies their
	// bodies. dryRuns and dryRunBodies are those of the dry runs.
	writes, bodies, dryRuns, dryRunBodies []string
	// reads counts the objects that were read whole, by resource/name.
	reads map[string]int
	// paths are the paths under which objects were last read whole, by resource/name.
	paths map[string]string
	// users are the impersonated users of the last write of each object, by resource/name.
	users map[string]string
	// lists counts the lists that were answered.
	lists int
	// requests are the reads and lists of stored revisions, as "GET secrets/name".
	requests []string
	// events are sent to watches; nil ends a watch at once.
	events chan *unstructured.Unstructured
	// stale are the objects of a list from the cache, if not nil.
	stale map[string]*unstructured.Unstructured
	// before is called, if not nil, before each request for objects, also of a kind that
	// is not served, without mu held. A status code other than 0 is the answer.
	before func(method, object string) int
	// gone is the path of a resource that is served no more.
	gone string
	// refuse returns, if not nil, the answer to a write or a dry run. The zero Status
	// refuses nothing.
	refuse func(method, object string) metav1.Status
}

func newAPIServer(t *testing.T) (*apiServer, *rest.Config) {
	t.Helper()
	s := &apiServer{objects: make(map[string]*unstructured.Unstructured), reads: make(map[string]int), paths: make(map[string]string), users: make(map[string]string)}
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
		t.Fatalf("%s does not exist; these do: %v", name, slices.Sorted(maps.Keys(s.objects)))
	}
	return o.DeepCopy()
}

// put stores an object, with a new UID if it is new.
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
		if code := s.before(r.Method, object); code == http.StatusForbidden {
			answer(w, code, forbidden(r.Method, object))
			return
		} else if code != 0 {
			fail(w, code, reasons()[code])
			return
		}
	}
	if s.gone != "" && resource == s.gone {
		http.NotFound(w, r) // in plain text, as the real server
		return
	}
	if !ok {
		discover(w, r.URL.Path, s.gone)
		return
	}
	if r.URL.Query().Get("watch") == "true" {
		s.watch(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method != http.MethodGet {
		s.users[object] = r.Header.Get("Impersonate-User")
		s.write(w, r, resource, object)
		return
	}
	if resource == "/api/v1/secrets" || resource == "/api/v1/configmaps" {
		s.requests = append(s.requests, r.Method+" "+object)
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
		answer(w, http.StatusOK, metadataOnly(o))
	default:
		s.reads[object]++
		s.paths[object] = r.URL.Path
		answer(w, http.StatusOK, o)
	}
}

// reasons are those of the real server, by status code.
func reasons() map[int]metav1.StatusReason {
	return map[int]metav1.StatusReason{
		http.StatusInternalServerError: metav1.StatusReasonInternalError,
	}
}

// forbidden is the real server's answer without a right.
func forbidden(method, object string) metav1.Status {
	resource, name, _ := strings.Cut(object, "/")
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
		Message: fmt.Sprintf("%s %q is forbidden: User %q cannot %s resource %q in the namespace %q", resource, name, "backout", strings.ToLower(method), resource, "shop"),
	}
}

// metadataOnly is an object's metadata alone.
func metadataOnly(o *unstructured.Unstructured) map[string]any {
	return map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": o.Object["metadata"]}
}

// watch sends the events, each as an object that was added. It sends no initial ones.
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
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": metadataOnly(o)})
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
	metadataLists := strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList")
	items := []any{}
	objects := s.objects
	if s.stale != nil && r.URL.Query().Get("resourceVersion") == "0" {
		objects = s.stale
	}
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		o := objects[key]
		if !strings.HasPrefix(key, prefix) || !selector.Matches(labels.Set(o.GetLabels())) {
			continue
		}
		if metadataLists {
			items = append(items, metadataOnly(o))
			continue
		}
		s.reads[key]++
		items = append(items, o.Object)
	}
	group := strings.TrimPrefix(strings.TrimPrefix(resource[:strings.LastIndex(resource, "/")], "/apis/"), "/api/")
	list := map[string]any{"apiVersion": group, "kind": kinds()[resource].kind + "List", "metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)}, "items": items}
	if metadataLists {
		list["apiVersion"], list["kind"] = "meta.k8s.io/v1", "PartialObjectMetadataList"
	}
	answer(w, http.StatusOK, list)
}

func fail(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: fmt.Sprintf("the server responds %s", reason),
	})
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}
