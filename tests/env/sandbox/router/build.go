package router

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// objects are the objects in the watches' caches at one moment. They must not be changed.
type objects struct {
	ingresses []*networkingv1.Ingress
	routes    []*gatewayv1.HTTPRoute
	services  []*corev1.Service
	slices    []*discoveryv1.EndpointSlice
}

// builder builds a table from objects. If two routes match the same requests, that of the older object wins, and an HTTPRoute
// wins over an Ingress.
type builder struct {
	gateway  types.NamespacedName
	services services
	splits   *splits
	table    *table
}

func build(o objects, gateway types.NamespacedName, s *splits) *table {
	b := builder{gateway: gateway, services: newServices(o.services, o.slices), splits: s, table: &table{pods: map[backend]*ring{}}}
	slices.SortFunc(o.routes, older[*gatewayv1.HTTPRoute])
	slices.SortFunc(o.ingresses, older[*networkingv1.Ingress])
	for _, r := range o.routes {
		b.addHTTPRoute(r)
	}
	b.addIngresses(o.ingresses)
	b.table.sort()
	s.turn()
	return b.table
}

func older[T metav1.Object](a, b T) int {
	created := func(o T) int64 { return o.GetCreationTimestamp().Unix() }
	return cmp.Or(cmp.Compare(created(a), created(b)), cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
}

// pods returns the ring of a backend's ready pods.
func (b *builder) pods(of backend) *ring {
	r, ok := b.table.pods[of]
	if !ok {
		r = &ring{addresses: b.services.ready(of)}
		b.table.pods[of] = r
	}
	return r
}
