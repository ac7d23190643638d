package ledger_test

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

// The tests of this package run on client-go's fake clientset. It does not compare
// resourceVersions, so ErrConflict is provoked here by an answer; that the API
// server gives this answer is for the scenarios on a real one.

func at() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 123456789, time.UTC) }

// newLedger has backout's own namespace, and says nothing.
func newLedger(client kubernetes.Interface, namespaces ...string) *ledger.Ledger {
	return ledger.New(ledger.Options{Client: client, Namespaces: namespaces, Own: "backout", Log: slog.New(slog.DiscardHandler)})
}

// aRecord is a small one.
func aRecord(namespace, release string, revision int) rollback.Record {
	return rollback.Record{
		Key: rollback.Key{Namespace: namespace, Release: release}, Revision: revision,
		UID: fmt.Sprintf("uid-%d", revision), Opened: at().Add(time.Duration(revision) * time.Minute),
		Accusations: []rollback.Accusation{{Alert: "CanaryErrors", Level: rollback.LevelRollback, Fingerprint: "9c", StartsAt: at(), Received: at(), LastSeen: at()}},
		Decisions:   []rollback.Decision{{Verdict: rollback.Act, Reason: "accused", Shed: true, At: at()}},
	}
}

// save stores records, each for the first time.
func save(t *testing.T, l *ledger.Ledger, records ...rollback.Record) {
	t.Helper()
	for _, r := range records {
		if _, err := l.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// configMap reads the record's ConfigMap as kubectl would.
func configMap(t *testing.T, client *fake.Clientset, namespace, name string) *corev1.ConfigMap {
	t.Helper()
	cm, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cm
}

func TestStoredForm(t *testing.T) {
	client := fake.NewClientset()
	l := newLedger(client, "shop")
	save(t, l, aRecord("shop", "web.eu", 7))
	cm := configMap(t, client, "shop", "backout.v1.web.eu.v7")
	want := map[string]string{
		"app.kubernetes.io/managed-by": "backout", "backout.dev/release": "web.eu", "backout.dev/revision": "7",
		"backout.dev/verdict": "act", "backout.dev/open": "true",
	}
	if diff := cmp.Diff(want, cm.Labels); diff != "" {
		t.Errorf("a record is found by its labels (-want +got):\n%s", diff)
	}
	if got := cm.Data["summary"]; got != "revision 7 of shop/web.eu: act (accused)" {
		t.Errorf("the summary tells the record in one line: got %q", got)
	}
	var shown map[string]any
	if err := yaml.Unmarshal([]byte(cm.Data["record.yaml"]), &shown); err != nil {
		t.Fatalf("a record is YAML: %v", err)
	}
	if shown["release"] != "web.eu" || shown["namespace"] != "shop" || shown["revision"] != 7.0 {
		t.Errorf("a record says what it is about at the top: got\n%s", cm.Data["record.yaml"])
	}
	for _, absent := range []string{"0001-01-01", "version:", "rollback: null", "closed"} {
		if strings.Contains(cm.Data["record.yaml"], absent) {
			t.Errorf("what did not happen is not shown: %q in\n%s", absent, cm.Data["record.yaml"])
		}
	}

	r := aRecord("shop", "web.eu", 7)
	r.Version, r.Closed, r.Decisions = cm.ResourceVersion, at(), nil
	if r.Version == "" {
		r.Version = "1"
	}
	if _, err := l.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	cm = configMap(t, client, "shop", "backout.v1.web.eu.v7")
	if cm.Labels["backout.dev/open"] != "false" || cm.Labels["backout.dev/verdict"] != "" {
		t.Errorf("labels follow the record: got %v", cm.Labels)
	}
}

// TestNamesAreValid takes the longest and the oddest names that Helm allows.
func TestNamesAreValid(t *testing.T) {
	for _, release := range []string{strings.Repeat("a", 53), "a.b.c", "0", "a--b"} {
		client := fake.NewClientset()
		l := newLedger(client, "shop")
		save(t, l, aRecord("shop", release, 1_000_000))
		cm := configMap(t, client, "shop", ledger.Name(release, 1_000_000))
		if errs := validation.IsDNS1123Subdomain(cm.Name); len(errs) > 0 {
			t.Errorf("the name of a record is one of a ConfigMap: %s: %v", cm.Name, errs)
		}
		for label, value := range cm.Labels {
			if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
				t.Errorf("%s=%q is a label: %v", label, value, errs)
			}
		}
	}
}

// fill sets every field below v to something that is not its zero value.
func fill(v reflect.Value, n *int) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(at().Add(time.Duration(*n) * time.Second)))
	case v.Kind() == reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, n)
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case v.Kind() == reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprintf("text %d: \"quoted\"\n# second line é", *n))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(*n))
	case v.CanFloat():
		v.SetFloat(float64(*n) + 0.5)
	default:
		panic("a kind of field that this test does not fill: " + v.Type().String())
	}
}

// TestRoundTrip fills every field there is: one that is not stored fails here.
func TestRoundTrip(t *testing.T) {
	var want rollback.Record
	var n int
	fill(reflect.ValueOf(&want).Elem(), &n)
	want.Key, want.Version = rollback.Key{Namespace: "shop", Release: "web"}, ""

	l := newLedger(fake.NewClientset(), "shop")
	save(t, l, want)
	got, err := l.Records(t.Context(), want.Key)
	if err != nil || len(got) != 1 {
		t.Fatalf("a record is read as it was stored: %v, %v", got, err)
	}
	got[0].Version = ""
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("every field of a record is stored (-want +got):\n%s", diff)
	}
}

func TestOneRecord(t *testing.T) {
	l := newLedger(fake.NewClientset(), "shop")
	want := aRecord("shop", "web", 3)
	save(t, l, want, aRecord("shop", "web", 4))
	got, ok, err := l.Record(t.Context(), want.Key, 3)
	if err != nil || !ok || got.UID != want.UID {
		t.Errorf("a record is read by its name: got %s, %t, %v", got.UID, ok, err)
	}
	if _, ok, err := l.Record(t.Context(), want.Key, 5); ok || err != nil {
		t.Errorf("one that is not there is no error: got %t, %v", ok, err)
	}
	client := fake.NewClientset()
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", errors.New("no role"))
	})
	if _, _, err := newLedger(client, "shop").Record(t.Context(), want.Key, 3); err == nil || !strings.Contains(err.Error(), "read the record of shop/web revision 3") {
		t.Errorf("what cannot be read is an error that says what: got %v", err)
	}
}

func TestSelection(t *testing.T) {
	client := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "somebody-elses"}, Data: map[string]string{"record.yaml": "{"},
	})
	l := newLedger(client, "shop", "pay")
	if err := l.Pause(t.Context(), ledger.Scope{Namespace: "shop"}, "not a record"); err != nil {
		t.Fatal(err)
	}
	closed := aRecord("shop", "web", 4)
	closed.Closed = at()
	save(t, l, aRecord("shop", "web", 10), aRecord("shop", "web", 9), closed, aRecord("shop", "api", 5),
		aRecord("pay", "web", 6), aRecord("other", "web", 8))

	records, err := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "web"})
	if got := revisions(records); err != nil || got != "shop/web/4 shop/web/9 shop/web/10" {
		t.Errorf("a release's records, open or not, the oldest revision first: got %s, %v", got, err)
	}
	recent, err := l.Recent(t.Context(), rollback.Key{Namespace: "shop", Release: "web"})
	if diff := cmp.Diff(records, recent); diff != "" || err != nil {
		t.Errorf("the same at hand (-want +got):\n%s%v", diff, err)
	}
	one, ok, err := l.Record(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, 9)
	if diff := cmp.Diff(records[1], one); diff != "" || !ok || err != nil {
		t.Errorf("one record by its revision (-want +got):\n%s%v, %v", diff, ok, err)
	}
	if _, ok, err := l.Record(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, 8); ok || err != nil {
		t.Errorf("no record is no error: got %v, %v", ok, err)
	}
	records, err = l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "nothing"})
	if err != nil || len(records) != 0 {
		t.Errorf("no records are no error: got %v, %v", records, err)
	}
	records, err = l.All(t.Context())
	if got := revisions(records); err != nil || got != "shop/web/10 shop/web/9 pay/web/6 shop/api/5 shop/web/4" {
		t.Errorf("every record of the ledger's namespaces and no other, the newest first: got %s, %v", got, err)
	}
	open, err := l.Open(t.Context())
	want := []rollback.Key{{Namespace: "shop", Release: "web"}, {Namespace: "pay", Release: "web"}, {Namespace: "shop", Release: "api"}}
	if diff := cmp.Diff(want, open); diff != "" || err != nil {
		t.Errorf("every release with an open record, once (-want +got):\n%s%v", diff, err)
	}
}

func revisions(records []rollback.Record) string {
	texts := make([]string, len(records))
	for i, r := range records {
		texts[i] = fmt.Sprintf("%s/%d", r.Key, r.Revision)
	}
	return strings.Join(texts, " ")
}

// TestCorruptRecord: somebody edited a ConfigMap by hand.
func TestCorruptRecord(t *testing.T) {
	for what, data := range map[string]map[string]string{
		"no YAML":               {"record.yaml": "{"},
		"another type":          {"record.yaml": "release: web\nrevision: three\n"},
		"no record":             {"summary": "x"},
		"nothing":               nil,
		"about another release": {"record.yaml": "namespace: shop\nrelease: api\nrevision: 3\n"},
		"about another revision": {
			"record.yaml": "namespace: shop\nrelease: web\nrevision: 4\n",
		},
		"about another namespace": {"record.yaml": "namespace: pay\nrelease: web\nrevision: 3\n"},
	} {
		t.Run(what, func(t *testing.T) {
			client := fake.NewClientset()
			l := newLedger(client, "shop", "pay")
			save(t, l, aRecord("shop", "web", 2), aRecord("shop", "web", 3), aRecord("pay", "bank", 1))
			cm := configMap(t, client, "shop", "backout.v1.web.v3")
			cm.Data = data
			if _, err := client.CoreV1().ConfigMaps("shop").Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			named := func(err error) bool {
				return err != nil && strings.Contains(err.Error(), "shop/backout.v1.web.v3") && strings.Contains(err.Error(), "mend it or delete it")
			}
			if _, err := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}); !named(err) {
				t.Errorf("to act as if a record were not there could mean to act twice: the error names it: got %v", err)
			}
			all, err := l.All(t.Context())
			if got := revisions(all); !named(err) || got != "shop/web/2 pay/bank/1" {
				t.Errorf("one corrupt record does not hide the others: got %s, %v", got, err)
			}
			open, err := l.Open(t.Context())
			if !named(err) || len(open) != 2 {
				t.Errorf("one corrupt record does not hide other releases' open ones: got %v, %v", open, err)
			}
		})
	}
}

func TestUnreadableNamespace(t *testing.T) {
	client := fake.NewClientset()
	l := newLedger(client, "forbidden", "shop")
	save(t, l, aRecord("shop", "web", 3))
	client.PrependReactor("list", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return a.GetNamespace() == "forbidden", nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", errors.New("no role"))
	})
	open, err := l.Open(t.Context())
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "namespace forbidden") || len(open) != 1 {
		t.Errorf("a namespace that cannot be read is named and does not hide the others: got %v, %v", open, err)
	}
}

func TestSaveErrors(t *testing.T) {
	maps := schema.GroupResource{Resource: "configmaps"}
	terminating := apierrors.NewForbidden(maps, "", errors.New("namespace shop is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	broken := errors.New("etcd is away")
	for _, c := range []struct {
		what, version string
		answer        error
		want          error
	}{
		{"a new record, and somebody made it first", "", apierrors.NewAlreadyExists(maps, "x"), rollback.ErrConflict},
		{"a known record, and somebody wrote it", "1", apierrors.NewConflict(maps, "x", nil), rollback.ErrConflict},
		{"a known record, and somebody deleted it", "1", apierrors.NewNotFound(maps, "x"), rollback.ErrConflict},
		{"the namespace is going", "", terminating, rollback.ErrUnknownRelease},
		{"the namespace is gone", "", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"), rollback.ErrUnknownRelease},
		{"no permission", "", apierrors.NewForbidden(maps, "", errors.New("no role")), nil},
		{"the API server is out of order", "1", broken, broken},
	} {
		client := fake.NewClientset()
		client.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, c.answer })
		r := aRecord("shop", "web", 3)
		r.Version = c.version
		_, err := newLedger(client).Save(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), "shop/web") {
			t.Errorf("%s: the error names the release: got %v", c.what, err)
			continue
		}
		for _, sentinel := range []error{rollback.ErrConflict, rollback.ErrUnknownRelease, broken} {
			if errors.Is(err, sentinel) != errors.Is(c.want, sentinel) {
				t.Errorf("%s: want %v, got %v", c.what, c.want, err)
			}
		}
	}
}

func TestSaveSendsWhatWasRead(t *testing.T) {
	client := fake.NewClientset()
	l := newLedger(client, "shop")
	var verbs []string
	client.PrependReactor("*", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if write, ok := a.(clienttesting.UpdateAction); ok {
			cm := write.GetObject().(*corev1.ConfigMap).DeepCopy()
			verbs = append(verbs, a.GetVerb()+" "+cm.ResourceVersion)
			cm.ResourceVersion = "42"
			return true, cm, nil
		}
		return false, nil, nil
	})
	r, err := l.Save(t.Context(), aRecord("shop", "web", 3))
	if err != nil || r.Version != "42" {
		t.Fatalf("a saved record has the mark of what was stored: got %q, %v", r.Version, err)
	}
	if _, err := l.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"create ", "update 42"}, verbs); diff != "" {
		t.Errorf("a record is created without a mark and replaced only with the mark that was read (-want +got):\n%s", diff)
	}
}

func TestDelete(t *testing.T) {
	client := fake.NewClientset()
	l := newLedger(client, "shop")
	r := aRecord("shop", "web", 3)
	if err := l.Delete(t.Context(), r); err == nil {
		t.Error("a record that was not read is not deleted: who knows what is stored")
	}
	r, err := l.Save(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	r.Version = "42"
	maps := schema.GroupResource{Resource: "configmaps"}
	var precondition string
	var answer error
	client.PrependReactor("delete", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if p := a.(clienttesting.DeleteActionImpl).DeleteOptions.Preconditions; p != nil && p.ResourceVersion != nil {
			precondition = a.(clienttesting.DeleteActionImpl).Name + " " + *p.ResourceVersion
		}
		return answer != nil, nil, answer
	})
	for _, c := range []struct {
		what         string
		answer, want error
	}{
		{"somebody wrote it since", apierrors.NewConflict(maps, "x", nil), rollback.ErrConflict},
		{"no permission", apierrors.NewForbidden(maps, "x", nil), apierrors.NewForbidden(maps, "x", nil)},
		{"it is as it was read", nil, nil},
		{"it is gone already", nil, nil},
	} {
		answer = c.answer
		err := l.Delete(t.Context(), r)
		if (err == nil) != (c.want == nil) || errors.Is(err, rollback.ErrConflict) != errors.Is(c.want, rollback.ErrConflict) {
			t.Errorf("%s: want %v, got %v", c.what, c.want, err)
		}
		if precondition != "backout.v1.web.v3 42" {
			t.Errorf("%s: the API server is told which one to delete: got %q", c.what, precondition)
		}
	}
	if records, err := l.Records(t.Context(), r.Key); err != nil || len(records) != 0 {
		t.Errorf("a deleted record is gone: got %v, %v", records, err)
	}
}

// TestBoundedSize floods a record with the longest texts: those of alerts come from
// strangers, the others are backout's own sentences. A ConfigMap takes 1 MiB.
func TestBoundedSize(t *testing.T) {
	const flood = 1000
	long, sentence := strings.Repeat("語", 2000), strings.Repeat("x", 300)
	r := aRecord("shop", strings.Repeat("a", 53), 1_000_000)
	for i := range flood {
		received := at().Add(time.Duration(i) * time.Minute)
		_, a, err := rollback.Alert{
			Labels: map[string]string{
				"alertname": long, "backout": "rollback", "namespace": r.Namespace, "release": r.Release, "version": long,
			},
			Annotations: map[string]string{"summary": long}, Fingerprint: fmt.Sprintf("%016x", i), StartsAt: received,
		}.Read(received)
		if err != nil {
			t.Fatal(err)
		}
		a.Confirmation = &rollback.Confirmation{Answer: rollback.AnswerUnknown, ActiveSince: received, Error: sentence}
		r.Accuse(a)
		r.Decide(rollback.Decision{
			Verdict: rollback.Unsafe, Reason: fmt.Sprint(i, strings.Repeat(sentence, 5)), Do: sentence, Shed: true, Hold: true, People: true, At: received,
		})
	}
	for range 20 {
		r.Dangers = append(r.Dangers, rollback.Danger{Kind: rollback.DangerUnbuildable, What: sentence})
	}
	r.Grounds = &rollback.Grounds{At: at()}
	for range 18 { // eight accusations, and what else Decide asks
		r.Grounds.Looked = append(r.Grounds.Looked, rollback.Look{What: "alert " + strings.Repeat("語", 128), Found: strings.Repeat("語", 200)})
	}
	for range 20 {
		r.Grounds.Candidates = append(r.Grounds.Candidates, rollback.Candidate{Revision: 1_000_000, Status: "superseded", Deployed: at(), Why: strings.Repeat("語", 160)})
	}
	step := rollback.Step{Started: at(), Done: at(), Next: at(), Attempts: 20, Error: strings.Repeat("x", 1000), Note: sentence}
	r.Shed, r.Rollback, r.Raise, r.Verify = &step, &step, &step, &step
	if len(r.Accusations) == flood || len(r.Decisions) == flood {
		t.Errorf("a record does not grow with the alerts: %d accusations, %d decisions", len(r.Accusations), len(r.Decisions))
	}
	client := fake.NewClientset()
	save(t, newLedger(client, "shop"), r)
	size := 0
	for _, text := range configMap(t, client, "shop", ledger.Name(r.Release, r.Revision)).Data {
		size += len(text)
	}
	t.Logf("after %d alerts: %d accusations, %d decisions, %d bytes", flood, len(r.Accusations), len(r.Decisions), size)
	if limit := 1 << 20 / 8; size > limit {
		t.Errorf("a record takes at most an eighth of a ConfigMap, whatever alerts say: got %d bytes", size)
	}
}
