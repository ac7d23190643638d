package chart

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/stage"
)

// operatorKinds are the kinds of the Prometheus Operator that the charts contain.
func operatorKinds() []string {
	return []string{
		"servicemonitors.monitoring.coreos.com/v1 ServiceMonitor", "prometheusrules.monitoring.coreos.com/v1 PrometheusRule",
		"alertmanagerconfigs.monitoring.coreos.com/v1alpha1 AlertmanagerConfig",
	}
}

// record reads a record from its ConfigMap; false if it does not exist.
func (c *cluster) record(ctx context.Context, namespace, name string) (rollback.Record, bool) {
	var r rollback.Record
	cm, err := c.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return r, false
	}
	return r, yaml.Unmarshal([]byte(cm.Data["record.yaml"]), &r) == nil
}

// await waits until a record is as wanted, and returns it.
func (c *cluster) await(t *testing.T, namespace, name string, wanted func(rollback.Record) bool) rollback.Record {
	t.Helper()
	var last rollback.Record
	eventually(t, "record "+namespace+"/"+name+" is as wanted", func(ctx context.Context) bool {
		r, ok := c.record(ctx, namespace, name)
		last = r
		return ok && wanted(r)
	})
	return last
}

func closed(r rollback.Record) bool { return !r.Closed.IsZero() }

// A namespace admin installs the chart and upgrades it, backout rolls a bad canary back, and the admin uninstalls the chart.
func TestTheChart(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.define(t, operatorKinds()...)
	c.appoint(t, []string{own, stage.Namespace}, "monitoring.coreos.com")
	for _, canary := range [][]string{stage.Canary("v2", "green", 20), stage.Canary("v3", "yellow", 20)} {
		if err := c.Install(limited(t), stage.Release, canary...); err != nil {
			t.Fatal(err)
		}
	}
	values := []string{
		"--set", "targets[0].namespace=canary-demo,targets[0].releases={canary-demo},config.mode=act",
		"--set", "config.verify=1s,config.verifyLimit=3s,monitoringLabels.release=kps",
	}
	notes := c.install(t, values...)
	for _, want := range []string{"backout acts", "helm -n backout test backout", "canary-demo: canary-demo"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the chart's notes do not contain %q:\n%s", want, notes)
		}
	}
	token, targets := c.token(t, own), c.token(t, stage.Namespace)
	if len(token) < 32 || len(targets) < 32 || targets == token {
		t.Errorf("the tokens of the two namespaces are the same or short: %d and %d bytes", len(token), len(targets))
	}

	// The sandbox has no DNS; users need not set these addresses.
	c.install(t, append(values, "--set", "tests.webhookURL=http://"+c.address(t, own)+",tests.opsURL=http://"+c.address(t, "backout-ops"))...)
	if c.token(t, own) != token || c.token(t, stage.Namespace) != targets {
		t.Error("an upgrade replaced a token: Alertmanager's posts would be refused")
	}
	c.helm(t, "test", own)
	checked := c.await(t, stage.Namespace, "backout.v1.canary-demo.v2", closed)
	if v := checked.Decision().Verdict; v != rollback.Observe {
		t.Errorf("helm test left the verdict %s, want observe", v)
	}

	c.ready(t, stage.Namespace)
	timeline, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fire(t, c.alertmanager(t, stage.Namespace), map[string]string{
		"alertname": "CanaryErrors", "backout": "rollback", "namespace": stage.Namespace, "release": stage.Release, "version": "v3",
	})
	for _, wanted := range []struct {
		kind  stage.Kind
		value string
	}{{stage.SawWeight, "0"}, {stage.SawRevision, "3 deployed"}, {stage.SawWeight, "20"}} {
		if _, err := timeline.Await(limited(t), wanted.kind, wanted.value); err != nil {
			t.Fatal(err)
		}
	}
	r := c.await(t, stage.Namespace, "backout.v1.canary-demo.v2", func(r rollback.Record) bool { return r.Rollback.Succeeded() && closed(r) })
	t.Logf("the record: %s", report.Summary(&r))

	c.helm(t, "uninstall", own, "--wait")
	c.checkLeftovers(t)
}

// checkLeftovers checks which objects remain after the chart is uninstalled.
func (c *cluster) checkLeftovers(t *testing.T) {
	t.Helper()
	kinds := []schema.GroupVersionResource{
		{Version: "v1", Resource: "configmaps"},
		{Version: "v1", Resource: "secrets"},
		{Version: "v1", Resource: "services"},
		{Version: "v1", Resource: "serviceaccounts"},
		{Version: "v1", Resource: "pods"},
		{Group: "apps", Version: "v1", Resource: "deployments"},
		{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
		{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
		{Group: "monitoring.coreos.com", Version: "v1", Resource: "servicemonitors"},
		{Group: "monitoring.coreos.com", Version: "v1", Resource: "prometheusrules"},
		{Group: "monitoring.coreos.com", Version: "v1alpha1", Resource: "alertmanagerconfigs"},
	}
	want := []string{
		"backout: leases backout", "backout: rolebindings admin", "backout: rolebindings operators", "backout: roles operators",
		"backout: secrets backout-record-keys", "canary-demo: configmaps backout.v1", "canary-demo: configmaps backout.v1.canary-demo.v2", "canary-demo: rolebindings admin",
		"canary-demo: rolebindings operators", "canary-demo: roles operators",
	}
	var left []string
	eventually(t, "backout's pods are gone", func(ctx context.Context) bool {
		pods, err := c.Client.CoreV1().Pods(own).List(ctx, metav1.ListOptions{})
		return err == nil && len(pods.Items) == 0
	})
	for _, namespace := range []string{own, stage.Namespace} {
		for _, kind := range kinds {
			list, err := c.objects.Resource(kind).Namespace(namespace).List(limited(t), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range list.Items {
				labels := o.GetLabels()
				// Those of Kubernetes and of the shop.
				if o.GetName() == "kube-root-ca.crt" || o.GetName() == "default" || labels["app.kubernetes.io/instance"] == stage.Release ||
					labels["owner"] == "helm" {
					continue
				}
				left = append(left, namespace+": "+kind.Resource+" "+o.GetName())
			}
		}
	}
	slices.Sort(left)
	if !slices.Equal(left, want) {
		t.Errorf("after helm uninstall, these objects remain\n  %s\nwant\n  %s", strings.Join(left, "\n  "), strings.Join(want, "\n  "))
	}
}

// ready waits until every pod of the namespace is ready.
func (c *cluster) ready(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, "the pods of "+namespace+" are ready", func(ctx context.Context) bool {
		pods, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil || len(pods.Items) == 0 {
			return false
		}
		return !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool {
			return !slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
		})
	})
}
