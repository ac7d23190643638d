package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	helmtime "helm.sh/helm/v3/pkg/time"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// editor is a user who may do what the ClusterRole edit allows, in namespace shop alone.
const editor = "editor-of-shop"

// loot is what a forged release declares in payments: a workload with a service account of that namespace, and a ConfigMap that another
// release has.
const loot = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: loot, namespace: payments}
spec:
  replicas: 0
  selector: {matchLabels: {app: loot}}
  template: {metadata: {labels: {app: loot}}, spec: {serviceAccountName: default, containers: [{name: loot, image: backout}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: payments}
data: {owner: the editor of shop}
---
`

// An editor of one target cannot make backout write into another: what a forged release declares there is refused before anything is
// written, and the account as which backout works in the one has no rights in the other. Each of the two holds without the other.
func TestATargetsEditorStaysInItsNamespace(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.define(t, operatorKinds()...)
	c.appoint(t, []string{own, "shop", "payments", "elsewhere"}, "monitoring.coreos.com")
	c.bindEditor(t)
	c.upgrade(t, "payments", "ledger", []string{"\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {owner: ledger}"})
	c.install(t, "--set", "targets[0].namespace=shop,targets[0].releases={*},targets[1].namespace=payments,targets[1].releases={*},config.mode=act",
		"--set", "config.verify=1s,config.verifyLimit=3s,tests.enabled=false,replicaCount=1")
	am := c.alertmanager(t, "shop")

	t.Run("the check refuses a forged release", func(t *testing.T) {
		c.forge(t, "web")
		fire(t, am, labelsOf("shop", "web", "rollback"))
		c.refusesTheForged(t, "web")
	})
	t.Run("the account has no rights elsewhere", func(t *testing.T) {
		// Helm itself has no such check: only the account's rights are in its way.
		c.forge(t, "by-helm")
		out, err := c.Helm(limited(t), "rollback", "by-helm", "1", "--namespace", "shop", "--kube-as-user", accountIn("shop"))
		if err == nil || !strings.Contains(err.Error(), "forbidden") || !strings.Contains(err.Error(), `namespace "payments"`) {
			t.Errorf("helm rolled the forged release back as %s: %v\n%s", accountIn("shop"), err, out)
		}
		c.nothingTaken(t)
	})
	t.Run("the check holds without the account's boundary", func(t *testing.T) {
		_, err := c.Client.RbacV1().RoleBindings("payments").Create(limited(t), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "too-much"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: own + "-target-shop", Namespace: own}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c.forge(t, "again")
		fire(t, am, labelsOf("shop", "again", "rollback"))
		c.refusesTheForged(t, "again")
	})
	t.Run("a forged record rolls nothing back", func(t *testing.T) {
		c.upgrade(t, "shop", "honest", tracks("v1"))
		c.upgrade(t, "shop", "honest", tracks("v2"))
		c.forgeRecord(t, "honest")
		r := c.await(t, "shop", "backout.v1.honest.v2", closed)
		t.Logf("the record: %s; ignored: %s", report.Summary(&r), strings.Join(r.Ignored, ", "))
		if want := []string{"its alerts, decisions and steps"}; !slices.Equal(r.Ignored, want) || r.Rollback != nil {
			t.Errorf("ignored %q, rollback %+v; want %q ignored", r.Ignored, r.Rollback, want)
		}
		if out, err := c.Helm(limited(t), "history", "honest", "--namespace", "shop"); err != nil || strings.Contains(out, "Rollback") {
			t.Errorf("the release was rolled back, or its history cannot be read: %v\n%s", err, out)
		}
		c.metric(t, "backout_unsigned_parts_total 1")
	})
	t.Run("a target's token is for the target alone", func(t *testing.T) {
		c.forge(t, "theirs")
		labels := labelsOf("shop", "theirs", "rollback")
		c.post(t, c.token(t, "payments"), labels)
		c.metric(t, `backout_alerts_ignored_total{reason="sender-not-allowed"} 1`)
		if _, there := c.record(limited(t), "shop", "backout.v1.theirs.v2"); there {
			t.Error("an alert about shop was accepted with the token of payments")
		}
		c.post(t, c.token(t, "shop"), labels)
		r := c.await(t, "shop", "backout.v1.theirs.v2", func(r rollback.Record) bool { return len(r.Signals) > 0 })
		if r.Signals[0].Sender != "token of shop" {
			t.Errorf("the record says that the alert came from %q", r.Signals[0].Sender)
		}
	})
	t.Run("a second installation leaves the target alone", func(t *testing.T) {
		second, err := c.Backout(limited(t), 0, map[string]string{"BACKOUT_RELEASES": "shop/*,elsewhere/*"})
		if err != nil {
			t.Fatal(err)
		}
		const want = "degraded: namespace shop is served by the backout in namespace backout,"
		if _, text, err := second.Get(limited(t), "/readyz"); err != nil || !strings.Contains(text, want) || strings.Contains(text, "elsewhere") {
			t.Errorf("/readyz of the second installation says %q, %v; want %q", text, err, want)
		}
	})
	t.Run("readers of the ops listener need a right", func(t *testing.T) {
		b, err := c.Backout(limited(t), 1, map[string]string{"BACKOUT_RELEASES": "", "BACKOUT_OPS_AUTH": "kubernetes", "BACKOUT_NAMESPACE": "elsewhere"})
		if err != nil {
			t.Fatal(err)
		}
		reader := c.reader(t, "elsewhere")
		for _, q := range []struct {
			path, token string
			want        int
		}{
			{"/healthz", "", http.StatusOK},
			{"/metrics", "", http.StatusUnauthorized},
			{"/metrics", "invented", http.StatusUnauthorized},
			{"/metrics", reader, http.StatusOK},
			{"/", reader, http.StatusForbidden},
			{"/api/v1/records", reader, http.StatusForbidden},
		} {
			if code, text := c.get(t, b.OpsURL()+q.path, q.token); code != q.want {
				t.Errorf("%s: %d, want %d: %.300s", q.path, code, q.want, text)
			}
		}
	})
	t.Run("the editor cannot become the account", func(t *testing.T) {
		for _, a := range []authorizationv1.ResourceAttributes{
			{Verb: "impersonate", Resource: "serviceaccounts"},
			{Verb: "create", Resource: "serviceaccounts", Subresource: "token"},
			{Verb: "get", Resource: "secrets"},
			{Verb: "create", Resource: "pods"},
		} {
			a.Namespace, a.Name = own, own+"-target-shop"
			review, err := c.Client.AuthorizationV1().SubjectAccessReviews().Create(limited(t), &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: editor, Groups: []string{"system:authenticated"}, ResourceAttributes: &a},
			}, metav1.CreateOptions{})
			if err != nil || review.Status.Allowed {
				t.Errorf("the editor may %s %s/%s of %s: %+v, %v", a.Verb, a.Resource, a.Subresource, a.Name, review.Status, err)
			}
		}
	})
}

// reader returns a token of the namespace's default service account, which may get /metrics and no other path.
func (c *cluster) reader(t *testing.T, namespace string) string {
	t.Helper()
	ctx := limited(t)
	meta := metav1.ObjectMeta{Name: "metrics-reader"}
	_, err := c.Client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "default", Namespace: namespace}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// get returns the answer to a request with a bearer token, "" for none.
func (c *cluster) get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(limited(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// bindEditor gives the editor its rights.
func (c *cluster) bindEditor(t *testing.T) {
	t.Helper()
	_, err := c.Client.RbacV1().RoleBindings("shop").Create(limited(t), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "editor"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: editor}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// forge writes, as the editor, the Secrets of a release whose first revision declares the loot.
func (c *cluster) forge(t *testing.T, name string) {
	t.Helper()
	objects := func(tag string) string { return strings.Join(tracks(tag), "\n---") }
	c.forgeRevisions(t, name, loot+objects("v1"), objects("v2"))
}

// forgeRevisions writes, as the editor, the Secrets of a release with two revisions of these manifests.
func (c *cluster) forgeRevisions(t *testing.T, name, first, second string) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.asEditor())
	if err != nil {
		t.Fatal(err)
	}
	secrets, deployed := driver.NewSecrets(client.CoreV1().Secrets("shop")), helmtime.Now()
	for number, r := range []struct {
		status   release.Status
		manifest string
	}{{release.StatusSuperseded, first}, {release.StatusDeployed, second}} {
		err := secrets.Create(fmt.Sprintf("sh.helm.release.v1.%s.v%d", name, number+1), &release.Release{
			Name: name, Namespace: "shop", Version: number + 1, Manifest: r.manifest,
			Info:  &release.Info{Status: r.status, Description: "Upgrade complete", FirstDeployed: deployed, LastDeployed: deployed},
			Chart: &chart.Chart{Metadata: &chart.Metadata{APIVersion: "v2", Name: name, Version: "1.0.0"}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// forgeRecord writes, as the editor, a record that says that backout has decided to roll the release back, and has begun.
func (c *cluster) forgeRecord(t *testing.T, name string) {
	t.Helper()
	secret, err := c.Client.CoreV1().Secrets("shop").Get(limited(t), "sh.helm.release.v1."+name+".v2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	text, err := yaml.Marshal(rollback.Record{
		Key: rollback.Key{Namespace: "shop", Release: name}, Revision: 2, UID: string(secret.UID), Opened: now,
		Signals: []rollback.Signal{{
			Alert: "Forged", Level: rollback.LevelRollback, Fingerprint: "f", Revision: 2, StartsAt: now, Received: now, LastSeen: now,
			Confirmation: &rollback.Confirmation{Answer: rollback.AnswerFiring},
		}},
		Decisions: []rollback.Decision{{Verdict: rollback.Act, Reason: "forged", Rollback: true, Target: 1, At: now}},
		Rollback:  &rollback.Step{Started: now}, Target: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.writeRecord(t, name, string(text))
}

// writeRecord writes, as the editor, a record with that text about revision 2 of a release.
func (c *cluster) writeRecord(t *testing.T, name, text string) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.asEditor())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().ConfigMaps("shop").Create(limited(t), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: "backout.v1." + name + ".v2",
			Labels: map[string]string{
				"app.kubernetes.io/managed-by": "backout", "backout.dev/release": name, "backout.dev/revision": "2", "backout.dev/open": "true",
			},
		},
		Data: map[string]string{"record.yaml": text},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// asEditor returns a configuration with the editor's rights.
func (c *cluster) asEditor() *rest.Config {
	config := c.Sandbox.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: editor, Groups: []string{"system:authenticated"}}
	return config
}

// refusesTheForged waits for the record about the forged release, and checks that it refuses the rollback and says why.
func (c *cluster) refusesTheForged(t *testing.T, name string) {
	t.Helper()
	r := c.await(t, "shop", "backout.v1."+name+".v2", func(r rollback.Record) bool { return r.Decision().Verdict == rollback.Unsafe })
	t.Logf("the record: %s: %s", report.Summary(&r), r.Decision().Reason)
	if !strings.Contains(r.Decision().Reason, "payments/loot") || r.Rollback != nil {
		t.Errorf("the record does not refuse the object in payments: %s: %s", report.Summary(&r), r.Decision().Reason)
	}
	c.nothingTaken(t)
}

// nothingTaken checks that payments is as it was.
func (c *cluster) nothingTaken(t *testing.T) {
	t.Helper()
	ctx := limited(t)
	settings, err := c.Client.CoreV1().ConfigMaps("payments").Get(ctx, "settings", metav1.GetOptions{})
	if err != nil || settings.Data["owner"] != "ledger" || settings.Annotations["meta.helm.sh/release-name"] != "ledger" {
		t.Errorf("the ConfigMap of payments/ledger is %v, %v", settings.Data, err)
	}
	if _, err := c.Client.AppsV1().Deployments("payments").Get(ctx, "loot", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("Deployment payments/loot: it exists, or cannot be read: %v", err)
	}
}

// post posts a firing alert with a token to backout's Service, as Alertmanager does, and expects it to be accepted.
func (c *cluster) post(t *testing.T, token string, labels map[string]string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"version": "4", "status": "firing", "alerts": []map[string]any{
			{"status": "firing", "labels": labels, "startsAt": time.Now(), "fingerprint": "0123456789abcdef"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(limited(t), http.MethodPost, c.url(t, own)+"/api/v1/alerts", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		t.Fatalf("the webhook answers %s: %s", response.Status, text)
	}
}

// metric checks that backout's metrics contain that line.
func (c *cluster) metric(t *testing.T, line string) {
	t.Helper()
	if code, text := c.get(t, c.url(t, own+"-ops")+"/metrics", ""); code != http.StatusOK || !strings.Contains(text, line+"\n") {
		t.Errorf("backout's metrics lack %q: %d", line, code)
	}
}

// url returns the URL of one of backout's Services on the host.
func (c *cluster) url(t *testing.T, service string) string {
	t.Helper()
	address, err := c.Sandbox.Forward(limited(t), c.address(t, service))
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + address
}
