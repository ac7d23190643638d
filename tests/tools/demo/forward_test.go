package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/upcommerce/backout/tests/env/stage"
)

// nginx is a cluster with ingress-nginx: an API server that answers what the demo asks for,
// and a router behind its pod. It forwards ports by SPDY only, as API servers before 1.30 do.
type nginx struct {
	t      *testing.T
	router string // host:port
	// labels are those of the Service, ready that of the pod.
	labels map[string]string
	ready  corev1.ConditionStatus
}

func (n *nginx) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "controller-1", Namespace: "ingress"}}
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "https", ContainerPort: 8443}, {Name: "web", ContainerPort: 8080}}}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: n.ready}}
	service := corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "controller", Namespace: "ingress", Labels: n.labels}}
	service.Spec.Selector = map[string]string{"of": "nginx"}
	service.Spec.Ports = []corev1.ServicePort{{Name: "https", TargetPort: intstr.FromString("https")}, {Name: "http", TargetPort: intstr.FromString("web")}}
	var answer any
	switch r.URL.Path {
	case "/api/v1/services":
		list := corev1.ServiceList{}
		if r.URL.Query().Get("labelSelector") == "app.kubernetes.io/name="+n.labels["app.kubernetes.io/name"]+",app.kubernetes.io/component=controller" {
			list.Items = append(list.Items, service)
		}
		answer = list
	case "/api/v1/namespaces/ingress/pods":
		if r.URL.Query().Get("labelSelector") != "of=nginx" {
			n.t.Errorf("pods are selected by %q, want the Service's selector", r.URL.Query().Get("labelSelector"))
		}
		answer = corev1.PodList{Items: []corev1.Pod{pod}}
	case "/api/v1/namespaces/ingress/pods/controller-1/portforward":
		n.forward(w, r)
		return
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// forward forwards the streams of a connection to the router, as a kubelet does.
func (n *nginx) forward(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), spdy.HeaderSpdy31) {
		http.Error(w, "only SPDY", http.StatusBadRequest)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		n.t.Error(err)
		return
	}
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, replied <-chan struct{}) error {
		go func() {
			<-replied
			if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeData {
				n.splice(stream)
			}
			_ = stream.Close()
		}()
		return nil
	})
	if conn != nil {
		<-conn.CloseChan()
	}
}

func (n *nginx) splice(stream httpstream.Stream) {
	if port := stream.Headers().Get(corev1.PortHeader); port != "8080" {
		n.t.Errorf("the demo forwards to port %s of the pod, want that of the Service's port http", port)
	}
	router, err := net.Dial("tcp", n.router)
	if err != nil {
		n.t.Error(err)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(router, stream); _ = router.(*net.TCPConn).CloseWrite() })
	both.Go(func() { _, _ = io.Copy(stream, router) })
	both.Wait()
	_ = router.Close()
}

// Without an address the demo finds ingress-nginx by its labels, and forwards a port to its
// pod; the shoppers' requests arrive there with the host of the route.
func TestThePortOfIngressNginxIsForwarded(t *testing.T) {
	router := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "Hello "+r.Host) }))
	t.Cleanup(router.Close)
	api := httptest.NewServer(&nginx{
		t: t, router: router.Listener.Addr().String(), ready: corev1.ConditionTrue,
		labels: map[string]string{"app.kubernetes.io/name": "ingress-nginx"},
	})
	t.Cleanup(api.Close)
	v := visit{config: &rest.Config{Host: api.URL}}
	stop, err := v.findRouter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	shoppers := stage.ShoppersAt(v.router, shopHost)
	var senders sync.WaitGroup
	for range 20 {
		senders.Go(func() {
			if code, text, err := shoppers.Read(context.WithoutCancel(t.Context()), "/"); err != nil || code != http.StatusOK || text != "Hello "+shopHost {
				t.Errorf("a shopper got %d %q: %v", code, text, err)
			}
		})
	}
	senders.Wait()
}

// A cluster without a ready ingress-nginx, and a wrong address, are errors that say what to
// set.
func TestTheRouterCannotBeFound(t *testing.T) {
	for _, tt := range []struct {
		name, label     string
		ready           corev1.ConditionStatus
		router, gateway string
	}{
		{"another router", "traefik", corev1.ConditionTrue, "", ""},
		{"a pod that is not ready", "ingress-nginx", corev1.ConditionFalse, "", ""},
		{"an address without a scheme", "ingress-nginx", corev1.ConditionTrue, "localhost:8080", ""},
		{"a Gateway without a namespace", "ingress-nginx", corev1.ConditionTrue, "http://localhost", "shared"},
		{"a Gateway that does not exist", "ingress-nginx", corev1.ConditionTrue, "http://localhost", "default/shared"},
	} {
		api := httptest.NewServer(&nginx{t: t, ready: tt.ready, labels: map[string]string{"app.kubernetes.io/name": tt.label}})
		v := visit{config: &rest.Config{Host: api.URL}, router: tt.router, gateway: tt.gateway}
		_, err := v.findRouter(t.Context())
		api.Close()
		if want := map[bool]string{true: "ROUTER=http://", false: "GATEWAY=default/shared"}[tt.gateway == ""]; err == nil ||
			!strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "kubectl get gateways -A") {
			t.Errorf("%s: error %v, want one that contains %q", tt.name, err, want)
		}
	}
}
