package chart

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// account is the user name of backout's ServiceAccount.
const account = "system:serviceaccount:" + own + ":" + own

// accountIn is the user name as which backout works in a namespace: its own, or its account for the target.
func accountIn(namespace string) string {
	if namespace == own {
		return account
	}
	return account + "-target-" + namespace
}

// right formats a verb on a kind as "verb resource.group".
func right(verb, resource, group string) string {
	return strings.TrimSuffix(verb+" "+resource+"."+group, ".")
}

// granted returns the rights that a Role grants.
func (c *cluster) granted(t *testing.T, namespace, name string) map[string]bool {
	t.Helper()
	role, err := c.Client.RbacV1().Roles(namespace).Get(limited(t), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rights := map[string]bool{}
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights[right(verb, resource, group)] = true
				}
			}
		}
	}
	return rights
}

// used returns the rights that backout has used in a namespace as its account there, and those that it was refused. It fails the test if
// backout has sent a request about the namespace as another user.
func (c *cluster) used(t *testing.T, namespace string) (used, refused map[string]bool) {
	t.Helper()
	requests, err := c.Sandbox.Requests()
	if err != nil {
		t.Fatal(err)
	}
	used, refused = map[string]bool{}, map[string]bool{}
	for _, r := range requests {
		if namespace == own && r.Impersonator == account {
			used[right("impersonate", "serviceaccounts", "")] = true
		}
		if r.Namespace != namespace || r.Resource == "" || r.User != account && r.Impersonator != account {
			continue
		}
		if r.User != accountIn(namespace) {
			t.Errorf("namespace %s: backout sent %s %s as %s", namespace, r.Verb, r.Resource, r.User)
		}
		if r.Code == 403 {
			refused[right(r.Verb, r.Resource, r.APIGroup)] = true
			continue
		}
		used[right(r.Verb, r.Resource, r.APIGroup)] = true
	}
	return used, refused
}

// listRights are rights that a watch needs only with an API server that does not stream the existing objects. This one does.
func listRights() []string { return []string{"list jobs.batch", "list secrets"} }

// allUsed checks that backout has used every right that the Role gives it in the namespace.
func (c *cluster) allUsed(t *testing.T, namespace, role string) {
	t.Helper()
	granted := c.granted(t, namespace, role)
	used, _ := c.used(t, namespace)
	var table []string
	for _, r := range slices.Sorted(maps.Keys(granted)) {
		verb, kind, _ := strings.Cut(r, " ")
		table = append(table, kind+" "+verb)
		if !used[r] && !slices.Contains(listRights(), r) {
			t.Errorf("namespace %s: backout has the right to %s, but does not use it", namespace, r)
		}
	}
	slices.Sort(table)
	t.Logf("namespace %s: Role %s grants %d rights:\n  %s", namespace, role, len(granted), strings.Join(table, "\n  "))
}

// noneMissed checks that backout was not refused a request in the namespace so far.
func (c *cluster) noneMissed(t *testing.T, namespace string) {
	t.Helper()
	_, refused := c.used(t, namespace)
	for _, r := range slices.Sorted(maps.Keys(refused)) {
		// Requests for a kind that the cluster does not serve are refused before they are not found. And for an object that does not exist,
		// client-go requests the namespace, too, for a better error; a refusal does no harm.
		if !strings.HasSuffix(r, ".traefik.containo.us") && r != "get namespaces" {
			t.Errorf("namespace %s: backout needs the right to %s, but does not have it", namespace, r)
		}
	}
}

func labelsOf(namespace, release, level string) map[string]string {
	return map[string]string{"alertname": "CanaryErrors", "backout": level, "namespace": namespace, "release": release}
}

// Every right that the chart grants is used, and no other is needed: with one less, a request of this test would be refused. As a check of that
// conclusion, four rights are taken away, and the actions that need them do not happen.
func TestEveryRightIsUsedAndEnough(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.define(t, append(operatorKinds(),
		"tcproutes.gateway.networking.k8s.io/v1alpha2 TCPRoute", "tlsroutes.gateway.networking.k8s.io/v1 TLSRoute",
		"udproutes.gateway.networking.k8s.io/v1alpha2 UDPRoute", "virtualservers.k8s.nginx.org/v1 VirtualServer",
		"virtualserverroutes.k8s.nginx.org/v1 VirtualServerRoute", "routes.route.openshift.io/v1 Route", "routegroups.zalando.org/v1 RouteGroup",
		"scaledobjects.keda.sh/v1alpha1 ScaledObject",
		"httproutes.gateway.networking.k8s.io/v1 HTTPRoute", "grpcroutes.gateway.networking.k8s.io/v1 GRPCRoute",
		"virtualservices.networking.istio.io/v1beta1 VirtualService", "destinationrules.networking.istio.io/v1beta1 DestinationRule",
		"traefikservices.traefik.io/v1alpha1 TraefikService", "ingressroutes.traefik.io/v1alpha1 IngressRoute",
		"ingressroutetcps.traefik.io/v1alpha1 IngressRouteTCP", "httpproxies.projectcontour.io/v1 HTTPProxy",
		"canaries.flagger.app/v1beta1 Canary", "rollouts.argoproj.io/v1alpha1 Rollout")...)
	withdrawn := withdrawals()
	namespaces := []string{own, "rolls", "sheds"}
	targets := []string{"targets[0].namespace=rolls,targets[0].releases={*}", "targets[1].namespace=sheds,targets[1].releases={*},targets[1].rollback=false"}
	for i, w := range withdrawn {
		namespaces = append(namespaces, w.namespace())
		targets = append(targets, fmt.Sprintf("targets[%d].namespace=%s,targets[%d].releases={*}", i+2, w.namespace(), i+2))
	}
	c.appoint(t, namespaces, "monitoring.coreos.com", "gateway.networking.k8s.io", "networking.istio.io", "traefik.io", "projectcontour.io",
		"k8s.nginx.org", "route.openshift.io", "zalando.org", "keda.sh", "flagger.app", "argoproj.io")
	for _, tag := range []string{"v2", "v3"} {
		c.upgrade(t, "rolls", "shop", everything(tag))
		c.upgrade(t, "sheds", "shop", append(everything(tag), workloads()...))
		c.upgrade(t, "sheds", "plain", append(plain(tag), scaler()))
		for _, w := range withdrawn {
			c.upgrade(t, w.namespace(), "shop", append(tracks(tag), split(tag)...))
		}
	}
	c.upgrade(t, "sheds", "looked-at", []string{"\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: looked-at}"})
	c.install(t, "--set", strings.Join(targets, ","), "--set",
		"rbac.hooks=true,config.mode=act,config.verify=1s,config.verifyLimit=3s,config.keepRecords=1,config.allow={secret,hook,stable,replicas},config.stormReleases=50,tests.enabled=false")
	for _, w := range withdrawn {
		w.take(t, c)
	}
	for _, namespace := range namespaces[1:] {
		c.ready(t, namespace)
	}
	am := c.alertmanager(t, own)
	fire(t, am, labelsOf("rolls", "shop", "rollback"))
	fire(t, am, labelsOf("sheds", "shop", "shed"))
	fire(t, am, labelsOf("sheds", "plain", "shed"))
	fire(t, am, labelsOf("sheds", "looked-at", "observe"))
	c.await(t, "sheds", "backout.v1.looked-at.v1", closed)
	c.upgrade(t, "sheds", "looked-at", []string{"\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: looked-at-again}"})
	again := labelsOf("sheds", "looked-at", "observe")
	again["alertname"] = "AnotherAlert"
	fire(t, am, again)
	for _, release := range []string{"shop", "plain"} {
		r := c.await(t, "sheds", "backout.v1."+release+".v2", func(r rollback.Record) bool { return r.Shed.Succeeded() })
		t.Logf("the record: %s", report.Summary(&r))
	}
	r := c.await(t, "rolls", "backout.v1.shop.v2", func(r rollback.Record) bool { return r.Rollback.Succeeded() && closed(r) })
	t.Logf("the record: %s", report.Summary(&r))
	if r.Target != 1 || !r.Restore.Succeeded() || len(r.Weights) < 8 {
		t.Errorf("not every route was set to zero and restored: %s, %v", report.Summary(&r), r.Weights)
	}
	eventually(t, "the older record is gone", func(ctx context.Context) bool {
		_, there := c.record(ctx, "sheds", "backout.v1.looked-at.v1")
		return !there
	})
	for _, namespace := range []string{"rolls", "sheds", own} {
		c.noneMissed(t, namespace)
	}
	c.onlySheds(t, am)
	c.allUsed(t, "rolls", "backout-rollback")
	c.allUsed(t, "sheds", "backout-shed")
	c.allUsed(t, own, "backout")
	for _, w := range withdrawn {
		w.check(t, c, am)
	}
}

// onlySheds checks that after an alert that asks for a rollback in a namespace where backout may only shed, the weight is zero, and the record says
// why nothing was rolled back.
func (c *cluster) onlySheds(t *testing.T, am *sandbox.Alertmanager) {
	t.Helper()
	c.upgrade(t, "sheds", "asks", append(renamed(tracks("v2")), renamed(split("v2"))...))
	c.upgrade(t, "sheds", "asks", append(renamed(tracks("v3")), renamed(split("v3"))...))
	c.ready(t, "sheds")
	fire(t, am, labelsOf("sheds", "asks", "rollback"))
	r := c.await(t, "sheds", "backout.v1.asks.v2", func(r rollback.Record) bool {
		return r.Shed.Succeeded() && r.Decision().Verdict == rollback.Unsafe
	})
	if !r.Decision().Hold || r.Rollback != nil {
		t.Errorf("without the right to roll back, the weight must be held at zero: %s", report.Summary(&r))
	}
	t.Logf("the record: %s: %s", report.Summary(&r), r.Decision().Reason)
}

// renamed returns the objects of a second shop.
func renamed(objects []string) []string {
	all := make([]string, len(objects))
	for i, o := range objects {
		all[i] = strings.ReplaceAll(o, "shop", "asks")
	}
	return all
}

// withdrawal is a right that is taken away, and the action that does not happen without it.
type withdrawal struct {
	role, verb, resource, group string
	// happens reports whether the record contains the action.
	happens func(rollback.Record) bool
}

func withdrawals() []withdrawal {
	shed := func(r rollback.Record) bool { return r.Shed.Succeeded() }
	back := func(r rollback.Record) bool { return r.Rollback.Succeeded() }
	return []withdrawal{
		{"shed", "patch", "ingresses", "networking.k8s.io", shed},
		{"shed", "create", "configmaps", "", func(r rollback.Record) bool { return r.Revision != 0 }},
		{"rollback", "patch", "deployments", "apps", back},
		{"rollback", "create", "secrets", "", back},
	}
}

func (w withdrawal) namespace() string { return "less-" + w.verb + "-" + w.resource }

// take takes the right away, from both Roles if both have it.
func (w withdrawal) take(t *testing.T, c *cluster) {
	t.Helper()
	for _, name := range []string{own + "-shed", own + "-rollback"} {
		roles := c.Client.RbacV1().Roles(w.namespace())
		role, err := roles.Get(limited(t), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, rule := range role.Rules {
			if slices.Contains(rule.Resources, w.resource) && slices.Contains(rule.APIGroups, w.group) {
				role.Rules[i].Verbs = slices.DeleteFunc(rule.Verbs, func(v string) bool { return v == w.verb })
			}
		}
		role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return len(r.Verbs) == 0 })
		if _, err := roles.Update(limited(t), role, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// check waits until backout is refused the right, and checks that the action has not happened.
func (w withdrawal) check(t *testing.T, c *cluster, am *sandbox.Alertmanager) {
	t.Helper()
	fire(t, am, labelsOf(w.namespace(), "shop", "rollback"))
	missed := right(w.verb, w.resource, w.group)
	eventually(t, "backout is refused the right to "+missed, func(context.Context) bool {
		_, refused := c.used(t, w.namespace())
		return refused[missed]
	})
	if r, ok := c.record(limited(t), w.namespace(), "backout.v1.shop.v2"); ok && w.happens(r) {
		t.Errorf("without the right to %s, the action happened nevertheless: %s", missed, report.Summary(&r))
	}
}
