package notify

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
)

// fakeAlertmanager takes API v2 alerts. Its one fact worth knowing: it refuses
// alerts that end before they start, as the real one does.
type fakeAlertmanager struct {
	mu  sync.Mutex
	got [][]posted
}

func (a *fakeAlertmanager) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var alerts []posted
	if q.URL.Path != "/api/v2/alerts" || json.NewDecoder(q.Body).Decode(&alerts) != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	for _, p := range alerts {
		if p.EndsAt.Before(p.StartsAt) || p.Labels["alertname"] == "" {
			http.Error(w, "start time must be before end time", http.StatusBadRequest)
			return
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, alerts)
}

func (a *fakeAlertmanager) posts() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.got)
}

// firing returns the names of the alerts that fire now.
func (a *fakeAlertmanager) firing() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	ends := make(map[string]time.Time)
	for _, post := range a.got {
		for _, p := range post {
			ends[p.Labels["alertname"]] = p.EndsAt
		}
	}
	firing := make(map[string]bool)
	for name, end := range ends {
		if time.Now().Before(end) {
			firing[name] = true
		}
	}
	return firing
}

func alertsOf(t *testing.T, tell func(t *testing.T, d *desk, am *fakeAlertmanager, put func(r rollback.Record))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		am := &fakeAlertmanager{}
		d := newDesk(t, Config{AlertmanagerURLs: []string{"https://am.example/"}}, &world{hosts: map[string]http.Handler{"am.example": am}}, &book{})
		d.run(t)
		begin := time.Now()
		tell(t, d, am, func(r rollback.Record) { d.book.put(t, shifted(begin, r)); time.Sleep(10 * time.Second) })
		if n := d.count(t, "alertmanager-1", resultError); n != 0 {
			t.Errorf("Alertmanager refused %g posts:\n%s", n, d.log)
		}
	})
}

func TestAlertsLastAsLongAsTheMatter(t *testing.T) {
	alertsOf(t, func(t *testing.T, _ *desk, am *fakeAlertmanager, put func(rollback.Record)) {
		put(accused(acting(), rolledBack))
		time.Sleep(20 * time.Minute)
		if f := am.firing(); !f[alertRolledBack] || f[alertNeedsHelp] {
			t.Errorf("firing while it is judged: %v", f)
		}
		put(shiftedEnd(accused(acting(), judgedAs(rollback.Recovered, "quiet")), 20*time.Minute))
		if f := am.firing(); f[alertRolledBack] {
			t.Errorf("still firing once it has recovered: %v", f)
		}
		posts := am.posts()
		time.Sleep(time.Hour)
		if am.posts() != posts {
			t.Error("what is over is posted on")
		}
	})
}

// shiftedEnd has the judgement come later.
func shiftedEnd(r rollback.Record, by time.Duration) rollback.Record {
	r.Verify.Done, r.Closed = r.Verify.Done.Add(by), r.Closed.Add(by)
	return r
}

func TestAShortStoryIsLongEnoughForGroupWait(t *testing.T) {
	alertsOf(t, func(t *testing.T, _ *desk, am *fakeAlertmanager, put func(rollback.Record)) {
		time.Sleep(131 * time.Second)
		put(accused(acting(), judgedAs(rollback.Recovered, "quiet"))) // heard of after its end
		time.Sleep(4 * time.Minute)
		if f := am.firing(); !f[alertRolledBack] {
			t.Errorf("firing 4 minutes later: %v; want 5 minutes, or group_wait swallows it", f)
		}
		time.Sleep(time.Minute)
		if f := am.firing(); len(f) != 0 {
			t.Errorf("firing for ever: %v", f)
		}
	})
}

func TestHelpIsAskedForUntilItIsOver(t *testing.T) {
	alertsOf(t, func(t *testing.T, _ *desk, am *fakeAlertmanager, put func(rollback.Record)) {
		put(accused(holds(rollback.Baked, "it is old"), onHold))
		time.Sleep(time.Hour)
		if f := am.firing(); !f[alertNeedsHelp] || f[alertRolledBack] {
			t.Errorf("firing while it is held: %v", f)
		}
		put(accused(holds(rollback.Baked, "it is old"), onHold, over(time.Hour+10*time.Second), func(r *rollback.Record) {
			r.Hold.Ended, r.Hold.Lifted, r.Hold.Why = after(time.Hour+10*time.Second), true, "released by ann"
		}))
		if f := am.firing(); len(f) != 0 {
			t.Errorf("firing once the hold is over: %v", f)
		}
	})
}

func TestARecordThatIsDeletedAsksForNoHelp(t *testing.T) {
	alertsOf(t, func(t *testing.T, d *desk, am *fakeAlertmanager, put func(rollback.Record)) {
		put(accused(holds(rollback.Baked, "it is old"), onHold))
		d.book.mu.Lock()
		d.book.records = nil // by kubectl delete
		d.book.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if f := am.firing(); len(f) != 0 {
			t.Errorf("firing for a record that is gone: %v", f)
		}
	})
}

func TestAlertsNeverComeBack(t *testing.T) {
	for name, r := range cases() {
		report := Of(r, setting())
		for _, a := range report.posted(after(time.Hour), wasPosted) {
			if _, ours := a.Labels["backout"]; ours {
				t.Errorf("%s: an alert of ours has a backout label and would be acted upon", name)
			}
			if a.Labels["namespace"] != "shop" || a.Labels["release"] != "web" || a.Labels["revision"] != "7" || a.Labels["cluster"] != "blue" {
				t.Errorf("%s: labels %v; want namespace, release, revision and cluster", name, a.Labels)
			}
		}
	}
}

// TestEventsFitTheirSchema checks what is sent against the schema in docs/.
func TestEventsFitTheirSchema(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	compiled, err := compiler.Compile("../../docs/webhook.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, e any) error {
		body, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(name, err)
		}
		return compiled.Validate(value)
	}
	for name, r := range cases() {
		report := Of(r, setting())
		for _, l := range report.Story {
			if err := check(name, eventOf(&report, l)); err != nil {
				t.Errorf("%s: the event does not fit docs/webhook.schema.json: %v", name, err)
			}
		}
	}
	report := Of(cases()["storm"], setting())
	d := &Teller{setting: setting(), known: map[identity]*matter{{uid: "1"}: {report: report}}}
	summary := d.summary([]identity{{uid: "1"}})
	if err := check("summary", eventOf(&summary, summary.Story[0])); err != nil {
		t.Errorf("a storm's summary does not fit: %v", err)
	}
	bad := eventOf(&report, report.Story[0])
	bad.Type = "dev.backout.celebrated"
	if check("bad", bad) == nil {
		t.Error("the schema takes a word that does not exist")
	}
}

func TestWebhookIsSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type got struct{ signature, kind, body string }
		var all []got
		receiver := http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			body, _ := io.ReadAll(q.Body)
			all = append(all, got{q.Header.Get(SignatureHeader), q.Header.Get("Content-Type"), string(body)})
		})
		d := newDesk(t, Config{WebhookURL: "https://hook.example/x", WebhookSecretFile: file(t, "s3cret")}, &world{hosts: map[string]http.Handler{"hook.example": receiver}}, &book{})
		d.run(t)
		begin := time.Now()
		d.book.put(t, shifted(begin, accused(acting(), rolledBack)))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		d.book.put(t, shifted(begin, accused(acting(), raised)))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(all) != 4 {
			t.Fatalf("%d events, want accused, shed, rolled-back and raised, each once", len(all))
		}
		seen := make(map[string]bool)
		for _, g := range all {
			if want := Sign([]byte("s3cret"), []byte(g.body)); g.signature != want {
				t.Errorf("signature %q of a body whose HMAC is %q", g.signature, want)
			}
			if g.kind != "application/cloudevents+json; charset=utf-8" {
				t.Errorf("content type %q", g.kind)
			}
			var e Event
			if err := json.Unmarshal([]byte(g.body), &e); err != nil || seen[e.ID] {
				t.Errorf("event %s: %v; an ID stands for one thing that happened", e.ID, err)
			}
			seen[e.ID] = true
		}
	})
	// https://www.rfc-editor.org/rfc/rfc4231#section-4.3
	if got, want := Sign([]byte("Jefe"), []byte("what do ya want for nothing?")), "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"; got != want {
		t.Errorf("the signature is HMAC-SHA256: %s, want %s", got, want)
	}
}

// declared is a release that declares one Deployment and what bears no Events.
type declared struct{}

func (declared) Manifest(context.Context, rollback.Key, int) (rollback.Manifest, error) {
	return rollback.Manifest{
		{"kind": "Deployment", "metadata": map[string]any{"name": "web-canary"}},
		{"kind": "Deployment", "metadata": map[string]any{"name": "gone"}},
		{"kind": "Service", "metadata": map[string]any{"name": "web"}},
	}, nil
}

func TestKubernetesEventsTellTheStoryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-canary", UID: "d-1"}})
		b := &book{}
		open := func() *desk {
			return newDesk(t, Config{Events: true}, &world{}, b, func(o *Options) { o.Client, o.Manifests, o.Instance = client, declared{}, "backout-0" })
		}
		d := open()
		stop := d.run(t)
		begin := time.Now()
		b.put(t, shifted(begin, accused(acting(), rolledBack)))
		time.Sleep(10 * time.Second)
		b.put(t, shifted(begin, accused(acting(), judgedAs(rollback.Recovered, "quiet"))))
		time.Sleep(10 * time.Second)
		stop()
		again := open()
		again.Report(b.records[0])
		again.run(t)
		time.Sleep(10 * time.Second)

		list, err := client.EventsV1().Events("shop").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		reasons := make(map[string]string)
		for _, e := range list.Items {
			if e.Regarding.Name != "web-canary" || e.Regarding.UID != "d-1" || e.Regarding.Kind != "Deployment" {
				t.Errorf("an Event is about %+v; want the workload as kubectl describe looks for it", e.Regarding)
			}
			reasons[e.Reason] = e.Type
		}
		for reason, kind := range map[string]string{
			"BackoutAccused": "Normal", "BackoutShed": "Warning", "BackoutRolledBack": "Warning", "BackoutRaised": "Normal", "BackoutRecovered": "Normal",
		} {
			if reasons[reason] != kind {
				t.Errorf("%s is %q, want %q", reason, reasons[reason], kind)
			}
		}
		if n := again.count(t, "events", resultError); n != 0 {
			t.Errorf("%g errors; an Event that is there already is no error:\n%s", n, again.log)
		}
		if len(list.Items) != 5 {
			t.Errorf("%d Events by two leaders, want each of 5 once", len(list.Items))
		}
		if len(b.records[0].Told) != 0 || b.saves != 2 {
			t.Errorf("Events need no note in the record: %+v, %d writes", b.records[0].Told, b.saves)
		}
	})
}

func TestEventsWithoutAWorkloadAreAboutTheRecord(t *testing.T) {
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "backout.v1.web.v7", UID: "r-1"}})
	channel := &kubernetesEvents{client: client, manifests: declared{}, instance: "backout-0"}
	report := Of(accused(acting(), shed), setting())
	if _, err := channel.deliver(t.Context(), &report, report.Story, ""); err != nil {
		t.Fatal(err)
	}
	list, err := client.EventsV1().Events("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != len(report.Story) || list.Items[0].Regarding.Kind != "ConfigMap" {
		t.Errorf("%v, %+v; want them about the record", err, list.Items)
	}
}

func TestForbiddenEventsAreToldWithAHint(t *testing.T) {
	client := fake.NewClientset(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-canary", UID: "d-1"}})
	client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &eventsv1.Event{}, apierrors.NewForbidden(schema.GroupResource{Group: "events.k8s.io", Resource: "events"}, "x", nil)
	})
	channel := &kubernetesEvents{client: client, manifests: declared{}, instance: "backout-0"}
	report := Of(accused(acting(), shed), setting())
	if _, err := channel.deliver(t.Context(), &report, report.Story, ""); err == nil || !strings.Contains(err.Error(), "BACKOUT_EVENTS=false") {
		t.Errorf("got %v; want an error that says what to allow", err)
	}
}
