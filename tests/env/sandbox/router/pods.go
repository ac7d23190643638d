package router

import (
	"net"
	"slices"
	"strconv"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ring contains the addresses of a backend's ready pods, "10.244.0.7:5000", which receive requests in turn.
type ring struct {
	addresses []string
	turn      atomic.Uint64
}

// pick returns the next address that is not in without; "" if none is left. A nil ring has none.
func (r *ring) pick(without []string) string {
	if r == nil {
		return ""
	}
	n := uint64(len(r.addresses))
	start := r.turn.Add(1)
	for i := range n {
		if a := r.addresses[(start+i)%n]; !slices.Contains(without, a) {
			return a
		}
	}
	return ""
}

// services finds backends and their pods.
type services struct {
	byName map[types.NamespacedName]*corev1.Service
	slices map[types.NamespacedName][]*discoveryv1.EndpointSlice // by the Service's name
}

func newServices(list []*corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) services {
	s := services{
		byName: map[types.NamespacedName]*corev1.Service{},
		slices: map[types.NamespacedName][]*discoveryv1.EndpointSlice{},
	}
	for _, service := range list {
		s.byName[types.NamespacedName{Namespace: service.Namespace, Name: service.Name}] = service
	}
	for _, slice := range endpointSlices {
		of := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
		s.slices[of] = append(s.slices[of], slice)
	}
	return s
}

// find returns the backend for a Service's port, by its name or, if that is "", by its number; nil if it does not exist.
func (s services) find(of types.NamespacedName, port string, number int32) *backend {
	service, ok := s.byName[of]
	if !ok {
		return nil
	}
	for _, p := range service.Spec.Ports {
		if port != "" && p.Name == port || port == "" && p.Port == number {
			return &backend{namespace: of.Namespace, service: of.Name, port: p.Name}
		}
	}
	return nil
}

// ready returns the addresses of a backend's ready pods, in a stable order. The slices contain the pods' port that the Service's
// targetPort resolves to, under the name of the Service's port.
func (s services) ready(b backend) []string {
	var found []string
	for _, slice := range s.slices[types.NamespacedName{Namespace: b.namespace, Name: b.service}] {
		for _, p := range slice.Ports {
			if p.Port == nil || p.Name != nil && *p.Name != b.port || p.Name == nil && b.port != "" {
				continue
			}
			for _, e := range slice.Endpoints {
				if ready := e.Conditions.Ready; ready != nil && !*ready || len(e.Addresses) == 0 {
					continue
				}
				// All addresses of an endpoint belong to the same pod.
				found = append(found, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
