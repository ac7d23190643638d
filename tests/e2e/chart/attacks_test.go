package chart

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// stormSize is the number of releases with signals at the same time that is a storm here.
const stormSize = 12

// attacked is a backout that a namespace admin has installed with the chart, with a Prometheus that it can ask, and a token for its readers.
type attacked struct {
	*cluster
	// reader is a token for the ops listener, token that of shop for the webhook.
	reader, webhook, token string
}

// TestAttack makes every attack of docs/security.md, a group after the other, on one installed backout, as a client of its webhook and as an
// editor of one of its targets. `make e2e RUN=TestAttack` prints each with its outcome.
func TestAttack(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.define(t, operatorKinds()...)
	c.appoint(t, []string{own, "shop", "payments"}, "monitoring.coreos.com")
	c.bindEditor(t)
	c.upgrade(t, "payments", "ledger", []string{"\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {owner: ledger}"})
	settings := "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {owner: honest}"
	for _, tag := range []string{"v1", "v2"} {
		c.upgrade(t, "shop", "honest", append(renamed(append(tracks(tag), split(tag)...)), settings)) // the forged ones declare objects named shop
	}
	a := &attacked{cluster: c}
	a.watchRules(t)
	a.reader = c.readerOfAll(t)
	values := []string{
		"--set", "targets[0].namespace=shop,targets[0].releases={*},targets[1].namespace=payments,targets[1].releases={*}",
		"--set", fmt.Sprintf("config.mode=act,config.opsAuth=kubernetes,config.verify=1s,config.verifyLimit=3s,config.stormReleases=%d,replicaCount=1", stormSize),
		"--set", "config.leaseDuration=60s,config.leaseRenew=40s", // a machine that is busy with the attacks costs no lease
		"--set", "config.prometheusUrls={" + stage.QueryPrometheus()["BACKOUT_PROMETHEUS_URLS"] + "}",
	}
	c.install(t, values...)
	c.install(t, append(values, "--set", "tests.webhookURL=http://"+c.address(t, own)+",tests.opsURL=http://"+c.address(t, own+"-ops"))...)
	c.helm(t, "test", own) // also with a token for the ops listener
	c.ready(t, "shop")
	a.webhook, a.token = c.url(t, own), c.token(t, "shop")

	t.Run("4 proof that proves nothing", a.proof)
	t.Run("1 foreign namespace", a.foreign)
	t.Run("2 shell", a.shell)
	t.Run("3 bombs", a.bombs)
	t.Run("5 forged record", a.forgedRecord)
	a.alive(t)
}

// rules returns alert rules that fire from the start for these releases of shop, and those of the group about proof.
func (a *attacked) rules(releases ...string) string {
	rule := func(name, expr, labels string) string {
		return fmt.Sprintf("  - {alert: %s, expr: %q, labels: {namespace: shop, %s}}\n", name, expr, labels)
	}
	text := "groups:\n- name: attacks\n  rules:\n"
	for _, r := range releases {
		text += rule("CanaryErrors", "vector(1)", "backout: rollback, release: "+r)
	}
	return text + rule("Quiet", "vector(0) > 1", "backout: rollback, release: denied") +
		rule("OnlyObserves", "vector(1)", "backout: observe, release: observed") +
		rule("BothTracksFail", "vector(1)", "release: unlabelled")
}

// watchRules starts a Prometheus with the rules.
func (a *attacked) watchRules(t *testing.T) {
	t.Helper()
	path := filepath.Join(a.Sandbox.Dir(), "attacks.rules.yml")
	text := a.rules("honest", "web", "whole-cluster", "neighbour", "annotation", "reference", "label", "gate", "bomb")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(stage.QueryPrometheus()["BACKOUT_PROMETHEUS_URLS"], "http://"))
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Sandbox.Prometheus(limited(t), sandbox.PrometheusOptions{RuleFiles: []string{path}, Port: number}); err != nil {
		t.Fatal(err)
	}
}

// readerOfAll lets backout ask the API server about tokens, and returns the token of a reader of everything: the default account of backout's
// namespace, as which helm test runs.
func (c *cluster) readerOfAll(t *testing.T) string {
	t.Helper()
	token := c.reader(t, own) // may get /metrics
	ctx := limited(t)
	for name, r := range map[string]struct {
		role    string
		account string
	}{"backout-auth-delegator": {"system:auth-delegator", own}, "backout-reader": {"backout-reader", "default"}} {
		_, err := c.Client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: r.role},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: r.account, Namespace: own}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "backout-reader"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/backout/*"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// proof: an alert that no rule has, one whose rule only observes, one whose rule has no backout label, and a storm of alerts that Prometheus
// denies before a real one.
func (a *attacked) proof(t *testing.T) {
	cases := map[string]struct {
		alert   string
		verdict rollback.Verdict
	}{
		"invented":   {"Invented", rollback.Unconfirmed},
		"observed":   {"OnlyObserves", rollback.Observe},
		"unlabelled": {"BothTracksFail", rollback.Unconfirmed},
	}
	for i := range stormSize - 1 {
		cases[fmt.Sprintf("denied-%d", i)] = struct {
			alert   string
			verdict rollback.Verdict
		}{"Quiet", rollback.Unconfirmed}
	}
	for name, tc := range cases {
		a.forgeRevisions(t, name, strings.Join(tracks("v1"), "\n---"), strings.Join(tracks("v2"), "\n---"))
		labels := suspecting(name, 2)
		labels["alertname"] = tc.alert
		a.fire(t, labels)
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		r := a.decided(t, name, cases[name].verdict)
		if r.Rollback != nil {
			t.Errorf("%s: a rollback was begun", name)
		}
	}
	a.fire(t, suspecting("honest", 2))
	r := a.await(t, "shop", "backout.v1.honest.v2", func(r rollback.Record) bool { return r.Rollback.Succeeded() })
	t.Logf("after %d alerts that Prometheus denied, a real one: %s", stormSize-1, report.Summary(&r))
}

// suspecting are the labels of an alert about a revision of a release of shop. The rules fire since before the forged revisions were written:
// without the label revision, backout would wait.
func suspecting(name string, revision int) map[string]string {
	labels := labelsOf("shop", name, "rollback")
	labels["revision"] = strconv.Itoa(revision)
	return labels
}

// decided waits until the record about a release has that verdict, and logs it.
func (a *attacked) decided(t *testing.T, name string, want rollback.Verdict) rollback.Record {
	t.Helper()
	r := a.await(t, "shop", "backout.v1."+name+".v2", func(r rollback.Record) bool { return r.Decision().Verdict == want })
	t.Logf("%s: %s: %s", name, r.Decision().Verdict, r.Decision().Reason)
	return r
}

// foreign: release Secrets whose first revision declares objects of another namespace, of the whole cluster, or of another release.
func (a *attacked) foreign(t *testing.T) {
	a.forge(t, "web")
	v1, v2 := strings.Join(tracks("v1"), "\n---"), strings.Join(tracks("v2"), "\n---")
	a.forgeRevisions(t, "whole-cluster", "\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: loot}\nrules: []\n---"+v1, v2)
	a.forgeRevisions(t, "neighbour", "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {owner: the editor of shop}\n---"+v1, v2)
	for name, names := range map[string]string{"web": "payments/loot", "whole-cluster": "the whole cluster", "neighbour": "shop/honest"} {
		a.fire(t, suspecting(name, 2))
		r := a.decided(t, name, rollback.Unsafe)
		if r.Rollback != nil || !strings.Contains(r.Decision().Reason, names) {
			t.Errorf("%s: the reason does not name %q, or a rollback was begun: %s", name, names, report.Summary(&r))
		}
	}
	a.nothingTaken(t)
	if _, err := a.Client.RbacV1().ClusterRoles().Get(limited(t), "loot", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("ClusterRole loot: it exists, or cannot be read: %v", err)
	}
	theirs, err := a.Client.CoreV1().ConfigMaps("shop").Get(limited(t), "settings", metav1.GetOptions{})
	if err != nil || theirs.Data["owner"] != "honest" {
		t.Errorf("the ConfigMap of shop/honest is %v, %v", theirs.Data, err)
	}
}

// forgedRecord: a record that says that backout has decided and begun, that names another Slack channel, and that has escape sequences.
func (a *attacked) forgedRecord(t *testing.T) {
	a.forgeRevisions(t, "believed", strings.Join(tracks("v1"), "\n---"), strings.Join(tracks("v2"), "\n---"))
	secret, err := a.Client.CoreV1().Secrets("shop").Get(limited(t), "sh.helm.release.v1.believed.v2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Format(time.RFC3339)
	a.writeRecord(t, "believed", strings.NewReplacer("NOW", now, "UID", string(secret.UID)).Replace(`
namespace: shop
release: believed
revision: 2
uid: UID
opened: NOW
told: {slack: {place: C-INVENTED, messageID: C-INVENTED/1}} # words:api told
notified: {slack: {messageID: C-INVENTED/1}}
shed: {started: NOW}
decisions: [{verdict: act, rollback: true, target: 1, at: NOW, reason: "\u001b[2Jcleared \u202egnp"}]
rollback: {started: NOW}
target: 1
`))
	r := a.await(t, "shop", "backout.v1.believed.v2", closed)
	t.Logf("the record: %s; ignored: %s", report.Summary(&r), strings.Join(r.Ignored, ", "))
	if len(r.Ignored) == 0 || r.Rollback != nil {
		t.Errorf("ignored %q, rollback %+v; want what is not signed ignored", r.Ignored, r.Rollback)
	}
	_, err = a.Client.CoreV1().Secrets("shop").Get(limited(t), "sh.helm.release.v1.believed.v3", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("revision 3 of the release: it exists, or cannot be read: %v", err)
	}
	shown := map[string]string{}
	for _, path := range []string{"/", "/api/v1/records/shop/believed/2", "/records/shop/believed/2"} {
		_, shown[path] = a.get(t, a.url(t, own+"-ops")+path, a.reader)
	}
	for _, args := range [][]string{{"records", "shop"}, {"explain", "shop/believed/2"}} {
		out, err := a.Command(limited(t), args...)
		if err != nil {
			t.Error(err)
		}
		shown[strings.Join(args, " ")] = out
	}
	for where, text := range shown {
		if !strings.Contains(text, "believed") || strings.ContainsAny(text, "\x1b\u202e") || strings.Contains(text, "C-INVENTED") {
			t.Errorf("%s shows the forged texts, or not the record: %.2000q", where, text)
		}
	}
	t.Logf("no escape sequence and no channel in %s", strings.Join(slices.Sorted(maps.Keys(shown)), ", "))
}

var residentMemory = regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`)

// alive checks that the pod that was attacked has run all the time, within its memory.
func (a *attacked) alive(t *testing.T) {
	t.Helper()
	pods, err := a.Client.CoreV1().Pods(own).List(limited(t), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=backout,app.kubernetes.io/component!=test"})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods, %v", len(pods.Items), err)
	}
	memory, err := strconv.ParseFloat(residentMemory.FindStringSubmatch(a.metrics(t))[1], 64)
	status := pods.Items[0].Status.ContainerStatuses[0]
	t.Logf("after all attacks: %d restarts, %.0f MiB resident", status.RestartCount, memory/(1<<20))
	if err != nil || status.RestartCount != 0 || memory > 256<<20 {
		t.Errorf("the pod was restarted %d times, has %.0f bytes, %v; want none, and at most its limit of 256 MiB", status.RestartCount, memory, err)
	}
}
