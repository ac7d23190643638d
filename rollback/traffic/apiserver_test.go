package traffic_test

import (
	"encoding/json"
	"io"
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

	"github.com/upcommerce/backout/rollback/traffic"
)

// apiServer holds Ingresses as the Kubernetes API server does, for what a patch
// depends on: each write makes a new resourceVersion, and a patch whose test
// operation does not hold is answered 422 and changes nothing. client-go's fake
// does neither.
type apiServer struct {
	mu        sync.Mutex
	ingresses map[string]*networkingv1.Ingress
	version   int
	gets      int
	patches   int
	// meanwhile is called before each patch, with mu held: somebody else's write.
	meanwhile func(patch int)
	// behind is what lists that may be old are answered with, if not nil.
	behind map[string]*networkingv1.Ingress
	// refuse is a status code with which every patch is answered, if not 0.
	refuse int
}

// newRouter returns a Router of a server that holds the Ingresses.
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
		if s.meanwhile != nil {
			s.meanwhile(s.patches)
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

// list answers with all Ingresses: the tests have one namespace.
func (s *apiServer) list(w http.ResponseWriter, r *http.Request) {
	ingresses := s.ingresses
	if s.behind != nil && r.URL.Query().Get("resourceVersion") == "0" {
		ingresses = s.behind
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
