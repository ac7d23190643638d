package services

import (
	"slices"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestConnectionsGoToReadyEndpoints(t *testing.T) {
	yes, no := true, false
	ready := discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes}
	terminating := discoveryv1.EndpointConditions{Ready: &no, Serving: &yes}
	dead := discoveryv1.EndpointConditions{Ready: &no, Serving: &no}
	slice := func(port string, number int32, by map[string]discoveryv1.EndpointConditions) *discoveryv1.EndpointSlice {
		s := &discoveryv1.EndpointSlice{Ports: []discoveryv1.EndpointPort{{Name: &port, Port: &number}}}
		for address, conditions := range by {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, Conditions: conditions})
		}
		return s
	}
	type conditions = map[string]discoveryv1.EndpointConditions
	for _, c := range []struct {
		name   string
		slices []*discoveryv1.EndpointSlice
		want   []string
	}{
		{"none", nil, nil},
		{"only ready endpoints", []*discoveryv1.EndpointSlice{slice("web", 80, conditions{"10.0.0.1": ready, "10.0.0.2": terminating, "10.0.0.3": dead})}, []string{"10.0.0.1:80"}},
		{"terminating endpoints, without ready ones", []*discoveryv1.EndpointSlice{slice("web", 80, conditions{"10.0.0.2": terminating, "10.0.0.3": dead})}, []string{"10.0.0.2:80"}},
		{"conditions that are not set are true", []*discoveryv1.EndpointSlice{slice("web", 80, conditions{"10.0.0.1": {}})}, []string{"10.0.0.1:80"}},
		{"by the port's name, with its number in each slice", []*discoveryv1.EndpointSlice{
			slice("web", 8080, conditions{"10.0.0.1": ready}), slice("web", 8081, conditions{"10.0.0.2": ready}), slice("metrics", 9090, conditions{"10.0.0.1": ready}),
		}, []string{"10.0.0.1:8080", "10.0.0.2:8081"}},
	} {
		if got := endpoints(c.slices, "web"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
