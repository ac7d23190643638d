package traffic_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/traffic"
)

// apiServer stores Ingresses as the Kubernetes API server does, as far as a patch depends on
// it: each write makes a new resourceVersion, and a patch whose test operation fails is
// answered with 422 and changes nothing. client-go's fake does neither.
type apiServer struct {
	mu        sync.Mutex
	ingresses map[string]*networkingv1.Ingress
	version   int
	gets      int
	patches   int
	// beforePatch is called before each patch, with mu locked, for the writes of another
	// client.
	beforePatch func(patch int)
	// cached answers lists that may be outdated, if not nil.
	cached map[string]*networkingv1.Ingress
	// refuse is the status code that answers every patch, if not 0.
	refuse int
}

// newRouter returns a Router of a server with the Ingresses.
func newRouter(t *testing.T, ingresses ...*networkingv1.Ingress) (*traffic.Router, *apiServer) {
	t.Helper()
	s := &apiServer{ingresses: make(map[string]*networkingv1.Ingress)}
	for _, i := range ingresses {
		s.put(i)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	router, err := traffic.New(traffic.Options{Config: &rest.Config{Host: server.URL, QPS: -1}})
	if err != nil {
		t.Fatal(err)
	}
	return router, s
}

func (s *apiServer) put(i *networkingv1.Ingress) {
	s.version++
	i.APIVersion, i.Kind = "networking.k8s.io/v1", "Ingress"
	i.ResourceVersion = strconv.Itoa(s.version)
	s.ingresses[i.Namespace+"/"+i.Name] = i
}

// annotations returns those of a live Ingress.
func (s *apiServer) annotations(key string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ingresses[key].Annotations
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest, ok := strings.CutPrefix(r.URL.Path, "/apis/networking.k8s.io/v1/namespaces/")
	if ok && strings.HasSuffix(rest, "/ingresses") {
		s.list(w, r)
		return
	}
	namespace, name, named := strings.Cut(rest, "/ingresses/")
	if !ok || !named {
		answer(w, http.StatusNotFound, status(http.StatusNotFound, metav1.StatusReasonNotFound))
		return
	}
	key := namespace + "/" + name
	if r.Method == http.MethodPatch {
		s.patches++
		if s.beforePatch != nil {
			s.beforePatch(s.patches)
		}
	} else {
		s.gets++
	}
	live := s.ingresses[key]
	switch {
	case live == nil:
		answer(w, http.StatusNotFound, status(http.StatusNotFound, metav1.StatusReasonNotFound))
	case r.Method == http.MethodGet:
		answer(w, http.StatusOK, live)
	case r.Method == http.MethodPatch && s.refuse != 0:
		answer(w, s.refuse, status(s.refuse, reasons()[s.refuse]))
	case r.Method == http.MethodPatch && r.Header.Get("Content-Type") == "application/json-patch+json":
		s.patch(w, r, live)
	default:
		answer(w, http.StatusMethodNotAllowed, status(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed))
	}
}

// list answers with all Ingresses: the tests that list have one namespace.
func (s *apiServer) list(w http.ResponseWriter, r *http.Request) {
	ingresses := s.ingresses
	if s.cached != nil && r.URL.Query().Get("resourceVersion") == "0" {
		ingresses = s.cached
	}
	all := networkingv1.IngressList{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "IngressList"}}
	for _, i := range ingresses {
		all.Items = append(all.Items, *i)
	}
	answer(w, http.StatusOK, all)
}

func (s *apiServer) patch(w http.ResponseWriter, r *http.Request, live *networkingv1.Ingress) {
	body, _ := io.ReadAll(r.Body)
	before, _ := json.Marshal(live)
	patch, err := jsonpatch.DecodePatch(body)
	if err != nil {
		answer(w, http.StatusBadRequest, status(http.StatusBadRequest, metav1.StatusReasonBadRequest))
		return
	}
	after, err := patch.Apply(before)
	var patched networkingv1.Ingress
	if err != nil || json.Unmarshal(after, &patched) != nil {
		answer(w, http.StatusUnprocessableEntity, status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid))
		return
	}
	s.put(&patched)
	answer(w, http.StatusOK, &patched)
}

func reasons() map[int]metav1.StatusReason {
	return map[int]metav1.StatusReason{
		http.StatusConflict:            metav1.StatusReasonConflict,
		http.StatusUnprocessableEntity: metav1.StatusReasonInvalid,
		http.StatusForbidden:           metav1.StatusReasonForbidden,
	}
}

func status(code int, reason metav1.StatusReason) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: "the server says " + string(reason),
	}
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

const (
	canary = "nginx.ingress.kubernetes.io/canary"
	weight = "nginx.ingress.kubernetes.io/canary-weight"
	held   = "backout.dev/held-weight"
)

func shop() rollback.Key { return rollback.Key{Namespace: "shop", Release: "web"} }

// ingress is a live Ingress of namespace shop.
func ingress(name string, annotations map[string]string) *networkingv1.Ingress {
	return &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, Annotations: maps.Clone(annotations),
	}}
}

// declare is an Ingress in a manifest.
func declare(name string, annotations map[string]string) rollback.Object {
	object := rollback.Object{
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": map[string]any{"name": name},
	}
	if len(annotations) > 0 {
		texts := make(map[string]any)
		for key, value := range annotations {
			texts[key] = value
		}
		object["metadata"].(map[string]any)["annotations"] = texts
	}
	return object
}

// in puts a declared object into a namespace.
func in(namespace string, object rollback.Object) rollback.Object {
	object["metadata"].(map[string]any)["namespace"] = namespace
	return object
}
