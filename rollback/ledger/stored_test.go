package ledger_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

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
	if got := cm.Data["summary"]; got != "revision 7 of shop/web.eu" {
		t.Errorf("the summary of Options.Summary is stored next to the record: got %q", got)
	}
	var shown map[string]any
	if err := yaml.Unmarshal([]byte(cm.Data["record.yaml"]), &shown); err != nil {
		t.Fatalf("a record is YAML: %v", err)
	}
	if shown["release"] != "web.eu" || shown["namespace"] != "shop" || shown["revision"] != 7.0 {
		t.Errorf("a record names its release and revision at the top level: got\n%s", cm.Data["record.yaml"])
	}
	for _, absent := range []string{"0001-01-01", "version:", "rollback: null", "closed"} {
		if strings.Contains(cm.Data["record.yaml"], absent) {
			t.Errorf("steps that did not happen are not stored: %q in\n%s", absent, cm.Data["record.yaml"])
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
		t.Errorf("labels change with the record: got %v", cm.Labels)
	}
}

// TestNamesAndLabelsAreValid takes the longest and the oddest names that Helm allows.
func TestNamesAndLabelsAreValid(t *testing.T) {
	for _, release := range []string{strings.Repeat("a", 53), "a.b.c", "0", "a--b"} {
		client := fake.NewClientset()
		l := newLedger(client, "shop")
		save(t, l, aRecord("shop", release, 1_000_000))
		cm := configMap(t, client, "shop", ledger.Name(release, 1_000_000))
		if errs := validation.IsDNS1123Subdomain(cm.Name); len(errs) > 0 {
			t.Errorf("the name of a record is valid for a ConfigMap: %s: %v", cm.Name, errs)
		}
		for label, value := range cm.Labels {
			if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
				t.Errorf("%s=%q is a valid label: %v", label, value, errs)
			}
		}
	}
}

// fill sets every field in v to something that is not its zero value.
func fill(v reflect.Value, n *int) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(at().Add(time.Duration(*n) * time.Second)))
	case v.Type() == reflect.TypeFor[rollback.Command]():
		v.Set(reflect.ValueOf(rollback.Key{Namespace: "shop", Release: "web"}.HelmRollbackCommand(*n)))
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
		v.SetString(fmt.Sprintf("text %d: \"quoted\" # no comment é", *n))
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

func TestEveryFieldIsStored(t *testing.T) {
	var want rollback.Record
	var n int
	fill(reflect.ValueOf(&want).Elem(), &n)
	want.Key, want.Version, want.Unsigned = rollback.Key{Namespace: "shop", Release: "web"}, "", false
	for i := range want.Signals {
		want.Signals[i].Link = fmt.Sprintf("https://prometheus.example/%d", i)
	}

	l := newLedger(fake.NewClientset(), "shop")
	save(t, l, want)
	got, err := l.Records(t.Context(), want.Key, rollback.Stored)
	if err != nil || len(got) != 1 {
		t.Fatalf("a record is read as it was stored: %v, %v", got, err)
	}
	got[0].Version = ""
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("every field of a record is stored (-want +got):\n%s", diff)
	}
}

// TestACorruptRecordIsNamed: an operator edited a ConfigMap manually.
func TestACorruptRecordIsNamed(t *testing.T) {
	for name, data := range map[string]map[string]string{
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
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			l := newLedger(client, "shop", "pay")
			save(t, l, aRecord("shop", "web", 2), aRecord("shop", "web", 3), aRecord("pay", "bank", 1))
			cm := configMap(t, client, "shop", "backout.v1.web.v3")
			cm.Data = data
			if _, err := client.CoreV1().ConfigMaps("shop").Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			named := func(err error) bool {
				return err != nil && strings.Contains(err.Error(), "shop/backout.v1.web.v3") && strings.Contains(err.Error(), "fix it or delete it")
			}
			if _, err := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, rollback.Stored); !named(err) {
				t.Errorf("the error names a record that cannot be decoded: to act as if it did not exist could mean to act twice: got %v", err)
			}
			all, err := l.All(t.Context())
			if got := revisions(all); !named(err) || got != "shop/web/2 pay/bank/1" {
				t.Errorf("one corrupt record does not hide the others: got %s, %v", got, err)
			}
			open, err := l.Open(t.Context())
			if !named(err) || len(open) != 2 {
				t.Errorf("one corrupt record does not hide the open records of other releases: got %v, %v", open, err)
			}
		})
	}
}

// TestARecordIsBounded floods a record with the longest texts: those of alerts come from
// other systems, the others are backout's own sentences. A ConfigMap takes 1 MiB.
func TestARecordIsBounded(t *testing.T) {
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
		r.AddSignal(a)
		r.Decide(rollback.Decision{
			Verdict: rollback.Unsafe, Reason: fmt.Sprint(i, strings.Repeat(sentence, 5)), Command: r.HelmHistoryCommand(), Shed: true, Hold: true, NeedsHelp: true, At: received,
		})
	}
	for range 20 {
		r.Dangers = append(r.Dangers, rollback.Danger{Kind: rollback.DangerUnbuildable, What: sentence})
	}
	r.Trace = &rollback.Trace{At: at()}
	for range 18 { // eight signals, and the other checks of Decide
		r.Trace.Checks = append(r.Trace.Checks, rollback.TraceCheck{Name: "alert " + strings.Repeat("語", 128), Result: strings.Repeat("語", 200)})
	}
	for range 20 {
		r.Trace.Candidates = append(r.Trace.Candidates, rollback.Candidate{Revision: 1_000_000, Status: "superseded", Deployed: at(), Reason: strings.Repeat("語", 160)})
	}
	step := rollback.Step{Started: at(), Done: at(), Next: at(), Attempts: 20, Error: strings.Repeat("x", 1000), Note: sentence}
	r.Shed, r.Rollback, r.Restore, r.Verify = &step, &step, &step, &step
	if len(r.Signals) == flood || len(r.Decisions) == flood {
		t.Errorf("a record does not grow with the alerts: %d signals, %d decisions", len(r.Signals), len(r.Decisions))
	}
	client := fake.NewClientset()
	l := newLedger(client, "shop")
	save(t, l, r)
	if _, err := l.Records(t.Context(), r.Key, rollback.Stored); err != nil {
		t.Errorf("the largest record that backout writes is within the bounds of those that it reads: got %v", err)
	}
	size := 0
	for _, text := range configMap(t, client, "shop", ledger.Name(r.Release, r.Revision)).Data {
		size += len(text)
	}
	t.Logf("after %d alerts: %d signals, %d decisions, %d bytes", flood, len(r.Signals), len(r.Decisions), size)
	if limit := 1 << 20 / 8; size > limit {
		t.Errorf("a record takes at most an eighth of a ConfigMap, whatever its alerts contain: got %d bytes", size)
	}
}
