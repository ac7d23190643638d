package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// nginxController selects the Service of ingress-nginx in its own charts and manifests, and
// in minikube's addon.
const nginxController = "app.kubernetes.io/name=ingress-nginx,app.kubernetes.io/component=controller"

// findNginx returns a ready pod of ingress-nginx and its port for HTTP.
func findNginx(ctx context.Context, client kubernetes.Interface) (*corev1.Pod, int32, error) {
	services, err := client.CoreV1().Services("").List(ctx, metav1.ListOptions{LabelSelector: nginxController})
	if err != nil {
		return nil, 0, fmt.Errorf("look for ingress-nginx: %w%s", err, routerHint)
	}
	for i := range services.Items {
		service := &services.Items[i]
		for _, p := range service.Spec.Ports {
			if p.Name != "http" {
				continue
			}
			pods, err := client.CoreV1().Pods(service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.FormatLabels(service.Spec.Selector)})
			if err != nil {
				return nil, 0, fmt.Errorf("look for pods of ingress-nginx: %w%s", err, routerHint)
			}
			for j := range pods.Items {
				if port := containerPort(&pods.Items[j], p); port != 0 && isReady(&pods.Items[j]) {
					return &pods.Items[j], port, nil
				}
			}
		}
	}
	return nil, 0, errors.New("look for ingress-nginx: no Service with the labels " + nginxController + " has a ready pod behind a port named http" + routerHint)
}

// containerPort returns the pod's port behind a Service's port, 0 if it has none.
func containerPort(pod *corev1.Pod, p corev1.ServicePort) int32 {
	if n := p.TargetPort.IntVal; n != 0 {
		return n
	}
	for _, c := range pod.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == p.TargetPort.StrVal {
				return port.ContainerPort
			}
		}
	}
	return 0
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

// forward forwards a free port of this machine to the port of a pod, as kubectl does, until
// stop is called.
func forward(ctx context.Context, config *rest.Config, pod *corev1.Pod, port int32) (local int, stop func(), err error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return 0, nil, err
	}
	to := client.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("portforward").URL()
	dialer, err := newDialer(config, to)
	if err != nil {
		return 0, nil, err
	}
	forwarding, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	f, err := portforward.NewOnAddressesForStreamingWithContext(forwarding, dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, ready, io.Discard, io.Discard)
	if err != nil {
		cancel()
		return 0, nil, err
	}
	go func() { ended <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		return 0, nil, errors.Join(err, ctx.Err())
	case <-ctx.Done():
		cancel()
		return 0, nil, ctx.Err()
	}
	ports, err := f.GetPorts()
	if err != nil || len(ports) == 0 {
		cancel()
		return 0, nil, errors.Join(errors.New("no port of this machine is free"), err)
	}
	return int(ports[0].Local), cancel, nil
}

// newDialer dials by WebSocket, or by SPDY where the API server or a proxy before it wants
// that.
func newDialer(config *rest.Config, to *url.URL) (httpstream.Dialer, error) {
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	socket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(to, config)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, to)
	return portforward.NewFallbackDialerForStreaming(socket, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
