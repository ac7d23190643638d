// Package chart tests the chart backout on a real API server: the real Helm installs it with only the rights of a namespace admin, backout runs in
// pods with its own ServiceAccount, and its requests to the API server are compared with the rights that its Roles grant.
package chart

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// patience bounds every wait. A wait ends as soon as its condition is true.
const patience = 3 * time.Minute

const (
	// own is the name of backout's namespace and release.
	own = "backout"
	// admin is a user with the ClusterRole admin in a few namespaces, who may also write the objects that the Prometheus Operator reads.
	admin = "namespace-admin"
)

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until the condition is true.
func eventually(t *testing.T, what string, condition func(ctx context.Context) bool) {
	t.Helper()
	ctx := limited(t)
	for !condition(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("not true after %s: %s", patience, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// cluster is a stage with a namespace for backout that admits only restricted pods.
type cluster struct {
	*stage.Stage
	objects dynamic.Interface
}

func open(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Stage: stage.Start(t)}
	var err error
	if c.objects, err = dynamic.NewForConfig(c.Sandbox.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	c.namespace(t, own, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	t.Cleanup(func() {
		if t.Failed() {
			c.showLogs(t)
		}
	})
	return c
}

// showLogs logs the ends of the logs of backout's pods.
func (c *cluster) showLogs(t *testing.T) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(c.Sandbox.PodLogs(), own+"_*", "*.log"))
	for _, path := range logs {
		text, _ := os.ReadFile(path)
		t.Logf("%s:\n%s", filepath.Base(filepath.Dir(path)), text[max(0, len(text)-6000):])
	}
}

func (c *cluster) namespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	_, err := c.Client.CoreV1().Namespaces().Create(limited(t), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// define defines kinds, as PLURAL.GROUP/VERSION Kind, without a schema, and waits until the API server serves them.
func (c *cluster) define(t *testing.T, kinds ...string) {
	t.Helper()
	for _, text := range kinds {
		plural, kind, _ := strings.Cut(text, " ")
		name, version, _ := strings.Cut(plural, "/")
		plural, group, _ := strings.Cut(name, ".")
		anything := map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}
		// A group of Kubernetes itself requires this annotation.
		meta := map[string]any{"name": name, "annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for tests"}}
		definition := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta,
			"spec": map[string]any{
				"group": group, "scope": "Namespaced", "names": map[string]any{"plural": plural, "kind": kind},
				"versions": []any{map[string]any{"name": version, "served": true, "storage": true, "schema": anything}},
			},
		}}
		if _, err := c.objects.Resource(crds).Create(limited(t), definition, metav1.CreateOptions{}); err != nil {
			t.Fatalf("define %s: %v", name, err)
		}
		resource := schema.GroupVersionResource{Group: group, Version: version, Resource: plural}
		eventually(t, name+" is served", func(ctx context.Context) bool {
			_, err := c.objects.Resource(resource).Namespace("default").List(ctx, metav1.ListOptions{})
			return err == nil
		})
	}
}

// appoint gives admin the rights of a namespace admin in the namespaces, and the right to write objects of those API groups.
func (c *cluster) appoint(t *testing.T, namespaces []string, groups ...string) {
	t.Helper()
	eventually(t, "ClusterRole admin has its rules", func(ctx context.Context) bool {
		role, err := c.Client.RbacV1().ClusterRoles().Get(ctx, "admin", metav1.GetOptions{})
		return err == nil && len(role.Rules) > 10 // a controller aggregates them
	})
	ctx, subjects := limited(t), []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: admin}}
	for _, namespace := range namespaces {
		c.namespace(t, namespace, nil)
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "operators"}}
		for _, group := range groups {
			role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"*"}, Verbs: []string{"*"}})
		}
		if _, err := c.Client.RbacV1().Roles(namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for name, ref := range map[string]rbacv1.RoleRef{
			"admin":     {APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			"operators": {APIGroup: rbacv1.GroupName, Kind: "Role", Name: "operators"},
		} {
			binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: ref, Subjects: subjects}
			if _, err := c.Client.RbacV1().RoleBindings(namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// helm runs the real helm program as the namespace admin.
func (c *cluster) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.Helm(limited(t), append(args, "--namespace", own, "--kube-as-user", admin)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// chartDir is the chart's directory in this clone.
func chartDir() string { return filepath.Join("..", "..", "..", "charts", "backout") }

// settle is BACKOUT_SETTLE.
const settle = 200 * time.Millisecond

// install installs the chart, or upgrades it, and waits until its pods are available.
func (c *cluster) install(t *testing.T, args ...string) string {
	t.Helper()
	// The alerts of these tests name no version, and begin soon after an upgrade.
	all := append([]string{"upgrade", "--install", own, chartDir(), "--set", "config.settle=" + settle.String()}, args...)
	out := c.helm(t, all...)
	eventually(t, "backout's pods are rolled out", func(ctx context.Context) bool {
		d, err := c.Client.AppsV1().Deployments(own).Get(ctx, own, metav1.GetOptions{})
		if err != nil {
			return false
		}
		s, want := d.Status, *d.Spec.Replicas
		return s.ObservedGeneration == d.Generation && s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want
	})
	return out
}

// address returns the address of one of backout's Services, as host:port inside the sandbox, which has no DNS.
func (c *cluster) address(t *testing.T, service string) string {
	t.Helper()
	s, err := c.Client.CoreV1().Services(own).Get(limited(t), service, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(s.Spec.ClusterIP, fmt.Sprint(s.Spec.Ports[0].Port))
}

// token returns the token that the chart has made.
func (c *cluster) token(t *testing.T, namespace string) string {
	t.Helper()
	s, err := c.Client.CoreV1().Secrets(namespace).Get(limited(t), "backout-token", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return string(s.Data["token"])
}

// alertmanager runs a real Alertmanager that posts to backout's Service with the token that the chart has made in the namespace.
func (c *cluster) alertmanager(t *testing.T, namespace string) *sandbox.Alertmanager {
	t.Helper()
	file := filepath.Join(c.Sandbox.Dir(), "chart-token")
	if err := os.WriteFile(file, []byte(c.token(t, namespace)), 0o600); err != nil {
		t.Fatal(err)
	}
	am, err := c.Sandbox.Alertmanager(limited(t), sandbox.AlertmanagerOptions{
		WebhookURL: "http://" + c.address(t, own) + "/api/v1/alerts", TokenFile: file,
	})
	if err != nil {
		t.Fatal(err)
	}
	return am
}

// fire lets an alert fire that names no version. backout believes that it is about the newest revision once that is older than the alert
// looks back, settle, and the second by which the API server's times may be off; Alertmanager repeats it minutes later only.
func fire(t *testing.T, am *sandbox.Alertmanager, labels map[string]string) {
	t.Helper()
	time.Sleep(settle + time.Second)
	if err := am.Fire(limited(t), sandbox.Alert{Labels: labels}); err != nil {
		t.Fatal(err)
	}
}
