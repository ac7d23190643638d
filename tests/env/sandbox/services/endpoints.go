package services

import (
	"net"
	"slices"
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// endpoints returns the addresses for connections to a port of a Service: the ready ones, or without any, those that terminate
// but still serve. Their order is stable.
func endpoints(all []*discoveryv1.EndpointSlice, port string) []string {
	var ready, serving []string
	for _, slice := range all {
		for _, p := range slice.Ports {
			if p.Port == nil || p.Name == nil && port != "" || p.Name != nil && *p.Name != port {
				continue
			}
			for _, e := range slice.Endpoints {
				if len(e.Addresses) == 0 {
					continue
				}
				address := net.JoinHostPort(e.Addresses[0], portText(*p.Port))
				if orTrue(e.Conditions.Ready) {
					ready = append(ready, address)
				} else if orTrue(e.Conditions.Serving) {
					serving = append(serving, address)
				}
			}
		}
	}
	if len(ready) == 0 {
		ready = serving
	}
	slices.Sort(ready)
	return slices.Compact(ready)
}

// orTrue returns a condition of an EndpointSlice, which is true if it is not set.
func orTrue(b *bool) bool { return b == nil || *b }

func portText(port int32) string { return strconv.Itoa(int(port)) }
