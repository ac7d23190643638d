// Package services makes ClusterIPs reachable inside a sandbox, from pods and from everything else there: it listens on them
// and forwards TCP connections to the endpoints in turn. While a Service has no endpoint, its connections are refused, as by
// kube-proxy.
//
// Unlike with kube-proxy, the endpoint sees the bridge's address as its peer. UDP, NodePorts and session affinity are not
// supported.
package services

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// Options configure a proxy. Every field is required.
type Options struct {
	// Client may list and watch Services and EndpointSlices.
	Client kubernetes.Interface
	// CIDR is the range of ClusterIPs.
	CIDR netip.Prefix
	Log  *slog.Logger
}

// Proxy forwards connections to ClusterIPs.
type Proxy struct {
	Options
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister

	mu        sync.Mutex
	listeners map[string]map[string]*listener // by Service, as namespace/name, and address
}

// New returns a proxy that does not listen yet.
func New(o Options) (*Proxy, error) {
	if o.Client == nil || o.Log == nil || !o.CIDR.IsValid() {
		return nil, errors.New("make a proxy for Services: its client, range and log are required")
	}
	return &Proxy{Options: o, listeners: map[string]map[string]*listener{}}, nil
}

// Run follows Services and EndpointSlices until ctx ends, and then stops listening. It returns an error if the range cannot be
// claimed.
func (p *Proxy) Run(ctx context.Context) error {
	if err := claim(p.CIDR); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(p.Client, 0)
	services, slices := factory.Core().V1().Services(), factory.Discovery().V1().EndpointSlices()
	p.services, p.slices = services.Lister(), slices.Lister()
	for informer, serviceOf := range map[cache.SharedIndexInformer]func(metav1.Object) string{
		services.Informer(): func(o metav1.Object) string { return o.GetName() },
		slices.Informer():   func(o metav1.Object) string { return o.GetLabels()[discoveryv1.LabelServiceName] },
	} {
		if _, err := informer.AddEventHandler(p.handler(ctx, serviceOf)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, listeners := range p.listeners {
		for _, l := range listeners {
			l.close()
		}
	}
	return nil
}

// handler updates a Service's listeners when the Service, or one of its slices, has changed.
func (p *Proxy) handler(ctx context.Context, serviceOf func(metav1.Object) string) cache.ResourceEventHandler {
	changed := func(o any) {
		if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = last.Obj
		}
		if object, ok := o.(metav1.Object); ok {
			p.update(ctx, object.GetNamespace(), serviceOf(object))
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: changed, UpdateFunc: func(_, o any) { changed(o) }, DeleteFunc: changed}
}

// update opens, updates and closes a Service's listeners.
func (p *Proxy) update(ctx context.Context, namespace, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := namespace + "/" + name
	wanted := p.targets(namespace, name)
	listeners := p.listeners[key]
	if listeners == nil {
		listeners = map[string]*listener{}
		p.listeners[key] = listeners
	}
	for address, l := range listeners {
		if _, ok := wanted[address]; !ok {
			l.close()
			delete(listeners, address)
		}
	}
	for address, targets := range wanted {
		if l, ok := listeners[address]; ok {
			l.targets.Store(&targets)
			continue
		}
		l, err := listen(ctx, address, targets)
		if err != nil {
			p.Log.WarnContext(ctx, "a Service cannot be reached", "address", address, "error", err)
			continue
		}
		listeners[address] = l
	}
	maps.DeleteFunc(p.listeners, func(_ string, l map[string]*listener) bool { return len(l) == 0 })
}

// targets returns the endpoints of a Service by its addresses. Addresses without endpoints are left out.
func (p *Proxy) targets(namespace, name string) map[string][]string {
	service, err := p.services.Services(namespace).Get(name)
	if err != nil || service.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name})
	all, err := p.slices.EndpointSlices(namespace).List(selector)
	if err != nil {
		return nil
	}
	found := map[string][]string{}
	for _, port := range service.Spec.Ports {
		targets := endpoints(all, port.Name)
		if len(targets) == 0 || port.Protocol != corev1.ProtocolTCP {
			continue
		}
		for _, ip := range service.Spec.ClusterIPs {
			if ip != corev1.ClusterIPNone {
				found[net.JoinHostPort(ip, portText(port.Port))] = targets
			}
		}
	}
	return found
}
