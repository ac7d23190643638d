package kubelet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// field returns a field of the pod, by the path of the downward API.
func (p *pod) field(path string) (string, error) {
	object := p.object.Load()
	if name, ok := subscript(path, "metadata.labels"); ok {
		return object.Labels[name], nil
	}
	if name, ok := subscript(path, "metadata.annotations"); ok {
		return object.Annotations[name], nil
	}
	switch path {
	case "metadata.name":
		return object.Name, nil
	case "metadata.namespace":
		return object.Namespace, nil
	case "metadata.uid":
		return string(object.UID), nil
	case "metadata.labels":
		return formatMap(object.Labels), nil
	case "metadata.annotations":
		return formatMap(object.Annotations), nil
	case "spec.nodeName":
		return object.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return object.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return p.kubelet.Bridge.Address().String(), nil
	case "status.podIP", "status.podIPs":
		return p.network.Address.String(), nil
	default:
		return "", fmt.Errorf("unsupported fieldPath: %v", path)
	}
}

// subscript returns the name in metadata.labels['name'].
func subscript(path, field string) (string, bool) {
	name, ok := strings.CutPrefix(path, field+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, "']")
}

// formatMap formats a map as the downward API does.
func formatMap(m map[string]string) string {
	lines := make([]string, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, name+"="+strconv.Quote(m[name]))
	}
	return strings.Join(lines, "\n")
}

// resourceField returns a request or limit of the container, in units of the divisor, rounded up. Without a limit it is the
// node's capacity.
func resourceField(c *corev1.Container, s *corev1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(s.Resource, ".")
	list := map[string]corev1.ResourceList{"limits": c.Resources.Limits, "requests": c.Resources.Requests}[kind]
	quantity, found := list[corev1.ResourceName(name)]
	if !found && kind == "limits" {
		quantity, found = capacity()[corev1.ResourceName(name)]
	}
	if !found && (name == "cpu" || name == "memory") {
		quantity, found = resource.Quantity{}, true
	}
	if !found {
		return "", fmt.Errorf("unsupported container resource: %v", s.Resource)
	}
	divisor := s.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	units := (quantity.MilliValue() + divisor.MilliValue() - 1) / divisor.MilliValue()
	return strconv.FormatInt(units, 10), nil
}
