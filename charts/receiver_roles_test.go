package charts_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// routerAPIs are the API versions of a cluster with every router, Flagger and Argo Rollouts.
func routerAPIs() []string {
	return []string{
		"gateway.networking.k8s.io/v1", "networking.istio.io/v1beta1", "traefik.io/v1alpha1", "projectcontour.io/v1",
		"k8s.nginx.org/v1", "route.openshift.io/v1", "zalando.org/v1", "keda.sh/v1alpha1",
		"flagger.app/v1beta1", "argoproj.io/v1alpha1",
	}
}

// rights are a Role's: verbs by resource and group.
func rights(role *rbacv1.Role) map[string][]string {
	found := map[string][]string{}
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				name := resource
				if group != "" {
					name += "." + group
				}
				for _, only := range rule.ResourceNames {
					name += " " + only
				}
				for _, verb := range rule.Verbs {
					if !slices.Contains(found[name], verb) {
						found[name] = append(found[name], verb)
					}
				}
			}
		}
	}
	return found
}

// RIGHTS.md is generated from the Roles; UPDATE=1 rewrites it. tests/e2e/chart tests that each right is used, that none is missing, and
// that backout does not work with one less.
func TestReceiverRightsAreThoseOfTheTable(t *testing.T) {
	all := receiver{set: "targets[0].namespace=T,targets[0].releases={*},rbac.hooks=true", apis: routerAPIs()}
	all.set = strings.ReplaceAll(all.set, "=T", "=shop")
	r := all.operated().render(t)
	var b strings.Builder
	b.WriteString("# backout's rights\n\nAll rights that the chart's Roles grant, on a cluster that serves every router, with `rbac.hooks`. " +
		"The chart omits API groups that a cluster does not serve.\n`tests/e2e/chart` uses each right on a real API server, and needs no other. The exception is `list` on secrets and jobs: " +
		"a watch begins with it if the API server does not stream the existing objects.\n")
	for _, role := range []struct{ key, title, amounts string }{
		{
			"Role backout/backout", "In its own namespace",
			"backout itself elects a leader, reads whether everything is paused, makes and reads the keys that sign its records, and works in a target as the " +
				"service account of that target. It can become no other account. `create` on secrets cannot be limited to a name: a Secret of type " +
				"kubernetes.io/service-account-token would hold a token of any account of this namespace, so give the namespace no other accounts with more rights. " +
				"If you make the Secret `backout-record-keys` yourself, you can take that right away. With `config.opsAuth: kubernetes` it asks the API server about " +
				"readers' tokens. That takes the ClusterRole `system:auth-delegator`, which the chart does not bind: it is cluster-scoped, and lets backout find out " +
				"the rights of any user, and change nothing.",
		},
		{
			"Role shop/backout-shed", "In each target's namespace: to decide, to record, and to take a canary out of rotation",
			"These go to the target's account. It reads every Secret of the namespace, because RBAC cannot select Helm's among them, and writes every " +
				"ConfigMap. `patch` on a route can send its traffic anywhere; backout changes weights and its own annotations. With `config.helmDriver: [configmap]` " +
				"it has no right to Secrets, here and below.",
		},
		{
			"Role shop/backout-rollback", "In each target's namespace, unless `rollback: false`: the additional rights of Helm's rollback",
			"These go to the target's account, too. With them it can do what an editor of the namespace can: run any image under any service account " +
				"of the namespace, overwrite any Secret, and delete what `rbac.kinds` names. No Role gives it a right in another namespace, or a cluster-scoped one. " +
				"Rights that you bind to all service accounts of backout's namespace (the group system:serviceaccounts:NAMESPACE) are its own, too. " +
				"With `configmap` in `config.helmDriver` it has `create`, `update` and `patch` on ConfigMaps for Helm's revisions; then every client that may write " +
				"ConfigMaps in the namespace can decide what a rollback writes there, with these rights.",
		},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| kind | verbs |\n|---|---|\n", role.title, role.amounts)
		granted := rights(one[*rbacv1.Role](t, r, role.key))
		for _, name := range slices.Sorted(maps.Keys(granted)) {
			resource, only, named := strings.Cut(name, " ")
			if named {
				resource += "` named `" + only
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", resource, strings.Join(granted[name], ", "))
		}
	}
	const path = "backout/RIGHTS.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	shown, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(shown)); diff != "" {
		t.Errorf("%s is generated from the Roles; UPDATE=1 rewrites it (-Roles +file):\n%s", path, diff)
	}
}

// A namespace admin has no rights on groups that the cluster does not serve, and so could not install a chart that grants them.
func TestReceiverRolesNameOnlyWhatIsServed(t *testing.T) {
	for _, tt := range []struct {
		name, set string
		apis      []string
		has, not  []string
	}{
		{"plain cluster", watched, nil, []string{"ingresses.networking.k8s.io"}, []string{"httproutes.gateway.networking.k8s.io", "servicemonitors.monitoring.coreos.com", "canaries.flagger.app"}},
		{"all served", watched, append(routerAPIs(), operatorAPIs()...), []string{"httproutes.gateway.networking.k8s.io", "servicemonitors.monitoring.coreos.com", "canaries.flagger.app", "destinationrules.networking.istio.io"}, []string{"traefikservices.traefik.containo.us"}},
		{"one router", watched + ",routers={gateway}", routerAPIs(), []string{"httproutes.gateway.networking.k8s.io"}, []string{"ingresses.networking.k8s.io", "virtualservices.networking.istio.io", "pods"}},
	} {
		r := receiver{set: tt.set, apis: tt.apis}.render(t)
		granted := rights(one[*rbacv1.Role](t, r, "Role canary-demo/backout-shed"))
		maps.Copy(granted, rights(one[*rbacv1.Role](t, r, "Role canary-demo/backout-rollback")))
		for _, name := range tt.has {
			if len(granted[name]) == 0 {
				t.Errorf("%s: the Roles grant nothing on %s", tt.name, name)
			}
		}
		for _, name := range tt.not {
			if len(granted[name]) > 0 {
				t.Errorf("%s: the Roles grant %v on %s", tt.name, granted[name], name)
			}
		}
	}
}

// Helm's revisions are in Secrets unless the values say otherwise; a team whose releases are all in ConfigMaps grants no right to Secrets.
func TestReceiverRightsFollowHelmsDriver(t *testing.T) {
	for _, tt := range []struct {
		set           string
		secrets, more bool
	}{
		{"", true, false},
		{",config.helmDriver={secret}", true, false},
		{",config.helmDriver={configmap}", false, true},
		{",config.helmDriver={secret,configmap}", true, true},
	} {
		r := receiver{set: watched + tt.set + ",rbac.kinds=null"}.render(t)
		shed := rights(one[*rbacv1.Role](t, r, "Role canary-demo/backout-shed"))
		rollBack := rights(one[*rbacv1.Role](t, r, "Role canary-demo/backout-rollback"))
		if got := len(shed["secrets"]) > 0 && len(rollBack["secrets"]) > 0; got != tt.secrets || len(shed["secrets"])+len(rollBack["secrets"]) > 0 != tt.secrets {
			t.Errorf("%q: the Roles grant %v and %v on Secrets, want some: %t", tt.set, shed["secrets"], rollBack["secrets"], tt.secrets)
		}
		if got := slices.Equal(rollBack["configmaps"], []string{"create", "update", "patch"}); got != tt.more || len(rollBack["configmaps"]) > 0 != tt.more {
			t.Errorf("%q: the Role of rollbacks grants %v on ConfigMaps, want those of Helm: %t", tt.set, rollBack["configmaps"], tt.more)
		}
		if slices.Contains(shed["configmaps"], "patch") {
			t.Errorf("%q: the Role of sheds has the right to patch ConfigMaps, by which backout knows that it may roll back", tt.set)
		}
	}
}

// A target with only the right to shed grants no right that changes the release.
func TestReceiverShedChangesNothingButWeights(t *testing.T) {
	r := receiver{set: watched + ",targets[0].rollback=false", apis: routerAPIs()}.operated().render(t)
	for name, verbs := range rights(one[*rbacv1.Role](t, r, "Role canary-demo/backout-shed")) {
		for _, verb := range verbs {
			reads := slices.Contains([]string{"get", "list", "watch"}, verb)
			if !reads && verb != "patch" && name != "configmaps" && name != "events.events.k8s.io" {
				t.Errorf("to take a canary out of rotation backout may %s %s", verb, name)
			}
		}
	}
	more := receiver{file: "ci/shed-only-values.yaml"}.render(t)
	granted := rights(one[*rbacv1.Role](t, more, "Role other/backout-rollback"))
	if !slices.Contains(granted["persistentvolumeclaims"], "delete") {
		t.Errorf("the Roles do not grant the extraRules of a target: %v", granted)
	}
}

// Each target has a service account of its own, in backout's namespace, with rights in the target's namespace alone. backout itself may
// do nothing there but become that account.
func TestReceiverTargetsHaveAccountsOfTheirOwn(t *testing.T) {
	r := receiver{set: "targets[0].namespace=shop,targets[0].releases={*},targets[1].namespace=payments,targets[1].releases={*}"}.operated().render(t)
	for _, namespace := range []string{"shop", "payments"} {
		account := "backout-target-" + namespace
		if token := one[*corev1.ServiceAccount](t, r, "ServiceAccount backout/"+account).AutomountServiceAccountToken; token == nil || *token {
			t.Errorf("ServiceAccount %s: pods would get a token of it", account)
		}
		for _, role := range []string{"shed", "rollback"} {
			b := one[*rbacv1.RoleBinding](t, r, "RoleBinding "+namespace+"/backout-"+role)
			want := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: "backout"}}
			if diff := cmp.Diff(want, b.Subjects); diff != "" {
				t.Errorf("RoleBinding %s/%s (-want +got):\n%s", namespace, b.Name, diff)
			}
		}
	}
	granted := rights(one[*rbacv1.Role](t, r, "Role backout/backout"))["serviceaccounts backout-target-shop backout-target-payments"]
	if diff := cmp.Diff([]string{"impersonate"}, granted); diff != "" {
		t.Errorf("rights on the accounts (-want +got):\n%s", diff)
	}
	for key, o := range r.objects {
		b, ok := o.(*rbacv1.RoleBinding)
		if ok && b.Namespace != "backout" && b.Subjects[0].Name == "backout" {
			t.Errorf("%s gives backout itself rights in a target", key)
		}
	}
	if value := environmentOf(t, r)["BACKOUT_TARGET_ACCOUNTS"]; value != "shop:backout-target-shop,payments:backout-target-payments" {
		t.Errorf("BACKOUT_TARGET_ACCOUNTS=%q", value)
	}
}
