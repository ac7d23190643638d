package helm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// unserved are the objects, by identity, whose kind the API server does not serve and that a
// rollback need not touch. Helm builds all objects of both revisions, so that one of them
// would stop it.
type unserved map[string]rollback.Object

// errUnserved says that a rollback needs an object of a kind that is not served.
var errUnserved = errors.New("is of a kind that the API server does not serve")

// errStale says that the discovery that backout has read is outdated: it has a kind that the API
// server does not serve any more.
var errStale = errors.New("the API server does not serve a kind any more that it served before")

// isUnserved reports whether the error is the answer for a kind that is not served, and not for
// an object that does not exist: that is a Status of the API server.
func isUnserved(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// again calls do, and once more with a new discovery if that was outdated.
func (c *Client) again(do func() error) error {
	err := do()
	if errors.Is(err, errStale) {
		c.mapper.Reset()
		err = do()
	}
	return err
}

// declarations are the objects by which a rollback is checked for kinds that are not served.
type declarations struct {
	// suspect is what the suspect revision declares, original what may be live.
	suspect, original, target rollback.Manifest
	unfinished                unfinished
}

// unserved finds the declared objects whose kind the API server does not serve. All revisions
// have to declare them the same: then they stay as they are. It returns errUnserved, and names
// the object, if Helm would have to write or delete one.
func (c *Client) unserved(k rollback.Key, d declarations) (unserved, error) {
	served := make(map[schema.GroupVersionKind]bool)
	isServed := func(o rollback.Object) bool {
		gvk := (&unstructured.Unstructured{Object: o}).GroupVersionKind()
		if _, known := served[gvk]; !known {
			_, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
			served[gvk] = !meta.IsNoMatchError(err)
		}
		return served[gvk]
	}
	suspect, target := byIdentity(k, d.suspect), byIdentity(k, d.target)
	found := make(unserved)
	for _, all := range []rollback.Manifest{d.target, d.original} {
		for _, o := range all {
			if isServed(o) {
				continue
			}
			id := identity(k.Namespace, o)
			if !d.declareTheSame(k, suspect[id], target[id]) {
				u := &unstructured.Unstructured{Object: o}
				return nil, fmt.Errorf("%s %w, %s of %s, and the revisions do not declare it the same: "+
					"install the CustomResourceDefinition again, or upgrade to a chart without the object",
					title(k, u.GetKind(), u.GetNamespace(), u.GetName()), errUnserved, u.GetKind(), u.GetAPIVersion())
			}
			found[id] = o
		}
	}
	return found, nil
}

// declareTheSame reports whether both revisions declare the object, and all unfinished ones
// that declare it, in the very same form.
func (d declarations) declareTheSame(k rollback.Key, suspect, target rollback.Object) bool {
	if suspect == nil || target == nil || !equalValues(suspect, target) {
		return false
	}
	for _, o := range d.unfinished.declared(k.Namespace, target) {
		if !equalValues(o, target) {
			return false
		}
	}
	return true
}

func byIdentity(k rollback.Key, all rollback.Manifest) map[string]rollback.Object {
	found := make(map[string]rollback.Object, len(all))
	for _, o := range all {
		found[identity(k.Namespace, o)] = o
	}
	return found
}

// differences say that the objects stay as they are.
func (u unserved) differences(k rollback.Key) []string {
	var texts []string
	for _, object := range u {
		o := &unstructured.Unstructured{Object: object}
		texts = append(texts, fmt.Sprintf("%s stays as it is: the API server does not serve its kind, %s of %s",
			title(k, o.GetKind(), o.GetNamespace(), o.GetName()), o.GetKind(), o.GetAPIVersion()))
	}
	return texts
}

// without returns the manifest without the objects.
func (u unserved) without(namespace, manifest string) (string, error) {
	if len(u) == 0 {
		return manifest, nil
	}
	var kept strings.Builder
	for rest := manifest; rest != ""; {
		document := rest
		if end := strings.Index(rest, "\n---"); end >= 0 {
			document = rest[:end+1]
		}
		rest = rest[len(document):]
		all, err := decodeManifest(document)
		if err != nil {
			return "", err
		}
		var others rollback.Manifest
		for _, o := range all {
			if u[identity(namespace, o)] == nil {
				others = append(others, o)
			}
		}
		if len(others) == len(all) {
			kept.WriteString(document)
			continue
		}
		for _, o := range others { // of a List
			text, err := json.Marshal(o)
			if err != nil {
				return "", fmt.Errorf("encode %s: %w", identity(namespace, o), err)
			}
			kept.WriteString("---\n" + string(text) + "\n") // JSON is YAML
		}
	}
	return kept.String(), nil
}

// buildWithout is build without the objects.
func (c *Client) buildWithout(objects *kube.Client, manifest string, u unserved) (kube.ResourceList, error) {
	text, err := u.without(objects.Namespace, manifest)
	if err != nil {
		return nil, err
	}
	return c.build(objects, text)
}

// Build builds a manifest as Helm does, without the objects whose kind is not served.
func (h *holdingClient) Build(reader io.Reader, validate bool) (kube.ResourceList, error) {
	if len(h.unserved) == 0 {
		return h.Client.Build(reader, validate)
	}
	manifest, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	text, err := h.unserved.without(h.Namespace, string(manifest))
	if err != nil {
		return nil, err
	}
	return h.Client.Build(strings.NewReader(text), validate)
}
