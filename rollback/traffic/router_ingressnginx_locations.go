package traffic

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// stable returns the Service to which an Ingress that is not a canary sends the requests of
// that location; "" if its backend is not a Service. An Ingress without a class has the
// cluster's default one, which may be the canary's.
func (r ingressNGINX) stable(at location, live *unstructured.Unstructured, neighbours []unstructured.Unstructured) (string, bool) {
	for _, class := range []string{r.class(live), ""} {
		for i := range neighbours {
			o := &neighbours[i]
			if leads, _ := r.leads(o, canary{}); leads || r.class(o) != class {
				continue
			}
			if service, ok := backendsOf(o)[at]; ok {
				return service, true
			}
		}
	}
	return "", false
}

// class returns the Ingress's class, from the field or the annotation.
func (ingressNGINX) class(object *unstructured.Unstructured) string {
	class, _, _ := unstructured.NestedString(object.Object, "spec", "ingressClassName")
	return cmp.Or(class, object.GetAnnotations()[classAnnotation])
}

// location is a host and a path that an Ingress routes; its default backend has the path / of
// no host. A rule without a path has the path /.
type location struct{ host, path string }

const rootPath = "/"

// inOrder returns the locations by host and path.
func inOrder(locations map[location]string) []location {
	return slices.SortedFunc(maps.Keys(locations), func(a, b location) int {
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.path, b.path))
	})
}

// backendsOf returns the Services of an Ingress by location; "" for a backend that is not a
// Service.
func backendsOf(ingress *unstructured.Unstructured) map[location]string {
	found := make(map[location]string)
	spec, _ := ingress.Object["spec"].(map[string]any)
	_, whole := spec["defaultBackend"].(map[string]any)
	other, _, _ := unstructured.NestedString(spec, "defaultBackend", "service", "name")
	if whole {
		found[location{path: rootPath}] = other
	}
	rules, _, _ := unstructured.NestedFieldNoCopy(ingress.Object, "spec", "rules")
	list, _ := rules.([]any)
	for _, rule := range list {
		fields, _ := rule.(map[string]any)
		host, _ := fields["host"].(string)
		if whole {
			found[location{host, rootPath}] = other // unless a path of the rule has it
		}
		paths, _, _ := unstructured.NestedFieldNoCopy(fields, "http", "paths")
		entries, _ := paths.([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			path, _ := entry["path"].(string)
			found[location{host, cmp.Or(path, rootPath)}], _, _ = unstructured.NestedString(entry, "backend", "service", "name")
		}
	}
	return found
}

// ingressBackend is one backend of an Ingress: a Service, with the name of its port, at a
// location.
type ingressBackend struct {
	location      location
	service, port string
}

// ingressBackends returns the backends of an Ingress in its order, the default one first. Several
// may have the same location.
func ingressBackends(ingress *unstructured.Unstructured) []ingressBackend {
	var found []ingressBackend
	add := func(at location, backend any) {
		fields, ok := backend.(map[string]any)
		if !ok {
			return
		}
		b := ingressBackend{location: at}
		b.service, _, _ = unstructured.NestedString(fields, "service", "name")
		b.port, _, _ = unstructured.NestedString(fields, "service", "port", "name")
		found = append(found, b)
	}
	spec, _ := ingress.Object["spec"].(map[string]any)
	add(location{path: rootPath}, spec["defaultBackend"])
	rules, _ := spec["rules"].([]any)
	for _, rule := range rules {
		fields, _ := rule.(map[string]any)
		host, _ := fields["host"].(string)
		list, _, _ := unstructured.NestedFieldNoCopy(fields, "http", "paths")
		paths, _ := list.([]any)
		for _, p := range paths {
			path, _ := p.(map[string]any)
			at, _ := path["path"].(string)
			add(location{host, cmp.Or(at, rootPath)}, path["backend"])
		}
	}
	return found
}
