package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// routerHint is the end of every error about the router's address.
const routerHint = "; set its address, as in ROUTER=http://127.0.0.1:8080"

// findRouter checks the router's URL and the Gateway. Without a URL it forwards a port of
// this machine to ingress-nginx until the returned function is called.
func (v *visit) findRouter(ctx context.Context) (func(), error) {
	if v.gateway != "" {
		if err := v.checkGateway(ctx); err != nil {
			return nil, err
		}
		if v.router == "" {
			return nil, fmt.Errorf("reach Gateway %s: the demo does not know its address%s", v.gateway, routerHint)
		}
	}
	if v.router != "" {
		if u, err := url.Parse(v.router); err != nil || u.Host == "" {
			return nil, fmt.Errorf("ROUTER=%s is not the address of a router%s", v.router, routerHint)
		}
		return func() {}, nil
	}
	client, err := kubernetes.NewForConfig(v.config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	pod, port, err := findNginx(ctx, client)
	if err != nil {
		return nil, err
	}
	local, stop, err := forward(ctx, v.config, pod, port)
	if err != nil {
		return nil, fmt.Errorf("forward a port to pod %s of namespace %s: %w%s", pod.Name, pod.Namespace, err, routerHint)
	}
	v.router = "http://127.0.0.1:" + strconv.Itoa(local)
	return stop, nil
}

// checkGateway returns an error if there is no such Gateway.
func (v *visit) checkGateway(ctx context.Context) error {
	namespace, name, ok := strings.Cut(v.gateway, "/")
	if !ok {
		return fmt.Errorf("GATEWAY=%s is not a Gateway; name its namespace too, as in GATEWAY=default/shared", v.gateway)
	}
	client, err := dynamic.NewForConfig(v.config)
	if err != nil {
		return fmt.Errorf("make a dynamic client: %w", err)
	}
	kind := schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}
	if _, err := client.Resource(kind).Namespace(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
		return errors.Join(fmt.Errorf("read Gateway %s: %w", v.gateway, err), errors.New("`kubectl get gateways -A` lists those that there are"))
	}
	return nil
}

// served says which routes the router has to serve.
func (v *visit) served() string {
	if v.gateway == "" {
		return "Ingresses of the class nginx with canary annotations"
	}
	return "HTTPRoutes of the Gateway " + v.gateway
}

// shopArguments are helm's arguments for every installation of the storefront: its image and
// its route. The demo's Prometheus finds its pods without a ServiceMonitor.
func (v *visit) shopArguments() []string {
	args := []string{
		"--set-string", "image.repository=" + storefrontRepository, "--set-string", "image.pullPolicy=" + pullNever,
		"--set", "serviceMonitor.enabled=false",
	}
	if v.gateway == "" {
		return args
	}
	namespace, name, _ := strings.Cut(v.gateway, "/")
	return append(args, "--set", fmt.Sprintf("routing=gateway,gateway.parentRefs[0].namespace=%s,gateway.parentRefs[0].name=%s,gateway.hostnames[0]=%s",
		namespace, name, shopHost))
}
