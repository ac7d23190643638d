package services

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Publish makes an API server the endpoint of the Service default/kubernetes, which the sandbox's API server does not do itself.
// It waits for the namespace, which the API server creates while it starts.
func Publish(ctx context.Context, client kubernetes.Interface, apiServer netip.AddrPort) error {
	name, port, protocol, ready := "https", int32(apiServer.Port()), corev1.ProtocolTCP, true
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{apiServer.Addr().String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}},
	}
	for {
		_, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Create(ctx, slice, metav1.CreateOptions{})
		if err == nil {
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("publish the API server's address: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("publish the API server's address: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
