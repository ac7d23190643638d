package helm_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

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
	if s.record(r, object, body) {
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

// record records the write, and reports whether it is a dry run. Like the real server,
// it takes the options of a DELETE from the body, if there is one.
func (s *apiServer) record(r *http.Request, object string, body []byte) bool {
	dry := r.URL.Query().Get("dryRun") == "All" && (r.Method != http.MethodDelete || len(body) == 0)
	if dry {
		s.dryRuns, s.dryRunBodies = append(s.dryRuns, r.Method+" "+object), append(s.dryRunBodies, string(body))
	} else {
		s.writes, s.bodies = append(s.writes, r.Method+" "+object), append(s.bodies, string(body))
	}
	return dry
}

// undo returns a function that restores the object as it is now.
func (s *apiServer) undo(object string) func() {
	original, known := s.objects[object]
	return func() {
		delete(s.objects, object)
		if known {
			s.objects[object] = original
		}
	}
}

func patched(r *http.Request, before, patch []byte, form any) ([]byte, error) {
	if r.Header.Get("Content-Type") == string(types.MergePatchType) {
		return jsonpatch.MergePatch(before, patch)
	}
	if form == nil {
		return nil, errors.New("a custom resource has no strategic merge patch")
	}
	return strategicpatch.StrategicMergePatch(before, patch, form)
}
