package chart

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

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

// injection is a name that is a command where a shell reads it unquoted.
const injection = "web; touch pwned #"

// shell: names of owners that are commands, in an annotation of a live Ingress, an owner reference, a label and the URL of a webhook.
func (a *attacked) shell(t *testing.T) {
	client, err := kubernetes.NewForConfig(a.asEditor())
	if err != nil {
		t.Fatal(err)
	}
	owned := func(meta string) string {
		return strings.Replace(split("v1")[1], "metadata: {", "metadata: {"+meta, 1)
	}
	annotated := fmt.Sprintf("argo-rollouts.argoproj.io/managed-by-rollouts: %q", injection)
	named := strings.Replace(split("v1")[1], "name: shop-canary", "name: annotation-canary", 1)
	live := strings.Replace(named, "annotations: {", "annotations: {"+annotated+", ", 1)
	if err := client.NetworkingV1().RESTClient().Post().Namespace("shop").Resource("ingresses").SetHeader("Content-Type", "application/yaml").
		Body([]byte(live)).Do(limited(t)).Error(); err != nil {
		t.Fatal(err)
	}
	for name, object := range map[string]string{
		"annotation": named,
		"reference":  owned(fmt.Sprintf("ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: %q, uid: a}], ", injection)),
		"label":      owned(fmt.Sprintf("labels: {helm.toolkit.fluxcd.io/name: %q, helm.toolkit.fluxcd.io/namespace: flux-system}, ", injection)),
		"gate": "\napiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: web}\nspec: {targetRef: {kind: Deployment, name: shop-canary}, " +
			`analysis: {webhooks: [{type: rollback, url: "http://x/; touch pwned #/check"}]}}`,
	} {
		a.forgeRevisions(t, name, strings.Join(append(tracks("v1"), object), "\n---"), strings.Join(append(tracks("v2"), object), "\n---"))
		a.fire(t, suspecting(name, 2))
		r := a.decided(t, name, rollback.Managed)
		for _, command := range report.Commands(&r) {
			t.Logf("%s: do: %s", name, command.Line)
			runsNothing(t, command.Line.String())
		}
	}
}

// runsNothing has a real shell read a command, with programs that do nothing, and checks that no text of another client was run.
func runsNothing(t *testing.T, command string) {
	t.Helper()
	programs, work := t.TempDir(), t.TempDir()
	for _, name := range []string{"kubectl", "helm", "flux", "argocd", "curl", "backout", "xargs"} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	touch, err := exec.LookPath("touch")
	if err == nil {
		err = os.Symlink(touch, filepath.Join(programs, "touch"))
	}
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(limited(t), "/bin/sh", "-c", command)
	run.Env, run.Dir = []string{"PATH=" + programs}, work
	if out, err := run.CombinedOutput(); err != nil {
		t.Errorf("a shell does not run %s: %v\n%s", command, err, out)
	}
	if left, _ := os.ReadDir(work); len(left) > 0 {
		t.Errorf("a text of another client was run: %s", command)
	}
}

// bombs: what unpacks or decodes to far more than it has, in a release's Secret, a record and webhooks; alerts about thousands of releases;
// connections without a request.
func (a *attacked) bombs(t *testing.T) {
	a.forgeRevisions(t, "bomb", strings.Join(tracks("v1"), "\n---"), strings.Join(tracks("v2"), "\n---"))
	a.forgeBomb(t, "bomb", 700)
	a.fire(t, suspecting("bomb", 3))
	r := a.await(t, "shop", "backout.v1.bomb.v3", func(r rollback.Record) bool {
		return r.Decision().Verdict == rollback.Unsafe || r.Decision().Verdict == rollback.NoTarget
	})
	t.Logf("a Secret that unpacks to 700 MiB: %s: %s", r.Decision().Verdict, r.Decision().Reason)
	if r.Rollback != nil || !strings.Contains(r.Decision().Reason, "too large") {
		t.Errorf("nothing is rolled back past a revision that cannot be read: %s", report.Summary(&r))
	}

	a.writeRecord(t, "empty", "accusations: [{}"+strings.Repeat(",{}", 330_000)+"]\n") // words:api accusations
	eventually(t, "the record is counted as unreadable", func(context.Context) bool {
		return strings.Contains(a.metrics(t), `backout_unreadable_records_total{reason="too-large"} 1`+"\n") //nolint:contextcheck // the context of the test
	})
	t.Log("a record of a million empty entries: unreadable, too-large")
	if err := a.Client.CoreV1().ConfigMaps("shop").Delete(limited(t), "backout.v1.empty.v2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	many := []byte(`{"version":"4","groupKey":"g","status":"firing","alerts":[{}` + strings.Repeat(",{}", 340_000) + `]}`)
	codes := make(map[int]int)
	var mu sync.Mutex
	var posting sync.WaitGroup
	for range 16 {
		posting.Go(func() {
			code, _ := a.send(t, many)
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	posting.Wait()
	t.Logf("16 webhooks of 1 MiB at once: answers %v", codes)
	if codes[http.StatusRequestEntityTooLarge]+codes[http.StatusServiceUnavailable] != 16 {
		t.Errorf("bombs are answered 413 or 503: got %v", codes)
	}

	for n, want := range map[int]int{6500: http.StatusRequestEntityTooLarge, 1900: http.StatusOK} {
		before := a.requests(t)
		code, text := a.send(t, releases(n))
		took := a.requests(t) - before
		t.Logf("one webhook about %d releases that do not exist: %d %.120s, %d requests to the API server", n, code, strings.TrimSpace(text), took)
		if code != want || took > 800 { // 100 releases are read, with some requests each
			t.Errorf("answered %d with %d requests, want %d and at most 800", code, took, want)
		}
	}
	a.idle(t, 2000)
}

// forgeBomb writes, as the editor, a third revision of a release whose gzip has so many MiB of spaces.
func (a *attacked) forgeBomb(t *testing.T, name string, mebibytes int) {
	t.Helper()
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	spaces := bytes.Repeat([]byte(" "), 1<<20)
	for range mebibytes {
		if _, err := w.Write(spaces); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(a.asEditor())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Secrets("shop").Create(limited(t), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: "sh.helm.release.v1." + name + ".v3", Labels: map[string]string{"name": name, "owner": "helm", "status": "deployed", "version": "3"},
		},
		Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte(base64.StdEncoding.EncodeToString(zipped.Bytes()))},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// writeRecord writes, as the editor, a record with that text about revision 2 of a release.
func (a *attacked) writeRecord(t *testing.T, name, text string) {
	t.Helper()
	client, err := kubernetes.NewForConfig(a.asEditor())
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

// fire posts an alert until it is accepted, as Alertmanager does.
func (a *attacked) fire(t *testing.T, labels map[string]string) {
	t.Helper()
	body := webhookOf(labels)
	eventually(t, "the alert is accepted", func(context.Context) bool {
		code, _ := a.send(t, body) //nolint:contextcheck // the context of the test
		return code == http.StatusOK
	})
}

// send posts a body with the token of shop. Several may be sent at a time.
func (a *attacked) send(t *testing.T, body []byte) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.webhook+"/api/v1/alerts", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Close = true // backout may have closed the connection of the request before for a new one
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Logf("no answer: %v", err)
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// webhookOf is a webhook with an alert of each of these labels.
func webhookOf(labels ...map[string]string) []byte {
	var alerts []map[string]any
	for i, l := range labels {
		alerts = append(alerts, map[string]any{"status": "firing", "labels": l, "startsAt": time.Now(), "fingerprint": fmt.Sprintf("%016x", i)})
	}
	text, _ := json.Marshal(map[string]any{"version": "4", "status": "firing", "alerts": alerts})
	return text
}

// releases is a webhook with an alert about each of n releases that do not exist.
func releases(n int) []byte {
	var all []map[string]string
	for i := range n {
		all = append(all, labelsOf("shop", fmt.Sprintf("no-%d", i), "rollback"))
	}
	return webhookOf(all...)
}

// requests returns how many requests backout has sent to the API server.
func (a *attacked) requests(t *testing.T) int {
	t.Helper()
	all, err := a.Sandbox.Requests()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range all {
		if r.User == account || r.Impersonator == account {
			n++
		}
	}
	return n
}

// idle opens so many connections, sends nothing, and checks that a sender is answered meanwhile.
func (a *attacked) idle(t *testing.T, n int) {
	t.Helper()
	address := strings.TrimPrefix(a.webhook, "http://")
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	began := time.Now()
	for range n {
		conn, err := (&net.Dialer{}).DialContext(limited(t), "tcp", address)
		if err != nil {
			t.Fatalf("after %d connections: %v", len(open), err)
		}
		open = append(open, conn)
	}
	opened, began := time.Since(began), time.Now()
	code, _ := a.send(t, webhookOf(map[string]string{"alertname": "NotForBackout"}))
	t.Logf("%d idle connections in %s: a sender is answered %d after %s", n, opened.Round(time.Millisecond), code, time.Since(began).Round(time.Millisecond))
	if code != http.StatusOK {
		t.Errorf("a sender is answered %d while connections are idle", code)
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

// metrics returns backout's metrics.
func (a *attacked) metrics(t *testing.T) string {
	t.Helper()
	code, text := a.get(t, a.url(t, own+"-ops")+"/metrics", a.reader)
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d %.300s", code, text)
	}
	return text
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
