package notify

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// declared is a release that declares two Deployments, of which one exists, and a
// Service, which gets no Events.
type declared struct{}

func (declared) Manifest(context.Context, rollback.Key, int) (rollback.Manifest, error) {
	return rollback.Manifest{deployment("web-canary"), deployment("gone"), {"kind": "Service", "metadata": map[string]any{"name": "web"}}}, nil
}

func deployment(name string) rollback.Object {
	return rollback.Object{
		"kind": "Deployment", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{}}},
	}
}

func liveDeployment() *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-canary", UID: "d-1"}}
}

func TestKubernetesEventsAreWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(liveDeployment())
		l := &memoryLedger{}
		open := func() *testNotifier {
			return newTestNotifier(t, Config{Events: true}, &network{}, l, func(o *Options) { o.Client, o.Manifests, o.Instance = client, declared{}, "backout-0" })
		}
		first := open()
		stop := first.start(t)
		begin := time.Now()
		l.put(t, actingSince(begin, reporttest.RolledBack))
		time.Sleep(10 * time.Second)
		l.put(t, actingSince(begin, recovered()))
		time.Sleep(10 * time.Second)
		stop()
		second := open()
		second.Notify(l.records[0])
		second.start(t)
		time.Sleep(10 * time.Second)

		list, err := client.EventsV1().Events("shop").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		types := make(map[string]string)
		for _, e := range list.Items {
			if e.Regarding.Name != "web-canary" || e.Regarding.UID != "d-1" || e.Regarding.Kind != "Deployment" {
				t.Errorf("an Event is about %+v; want the workload as kubectl describe looks for it", e.Regarding)
			}
			types[e.Reason] = e.Type
		}
		for reason, want := range map[string]string{
			"BackoutSignal": "Normal", "BackoutShed": "Warning", "BackoutRolledBack": "Warning", "BackoutWeightRestored": "Normal", "BackoutRecovered": "Normal",
		} {
			if types[reason] != want {
				t.Errorf("%s is %q, want %q", reason, types[reason], want)
			}
		}
		if n := second.count(t, "events", resultError); n != 0 {
			t.Errorf("%g errors; an Event that exists already is not an error:\n%s", n, second.log)
		}
		if len(list.Items) != 5 {
			t.Errorf("%d Events by two leaders, want each of 5 once", len(list.Items))
		}
		if len(l.records[0].Notified) != 0 || l.saves != 2 {
			t.Errorf("the record does not store Events: %+v, %d writes", l.records[0].Notified, l.saves)
		}
	})
}

func TestEventsWithoutAWorkloadAreAboutTheRecord(t *testing.T) {
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "backout.v1.web.v7", UID: "r-1"}})
	channel := &kubernetesEvents{client: client, manifests: declared{}, instance: "backout-0"}
	rep := report.Of(reporttest.Record(reporttest.Act(), reporttest.Shed), settings())
	if _, err := channel.deliver(t.Context(), &rep, rep.Timeline, ""); err != nil {
		t.Fatal(err)
	}
	list, err := client.EventsV1().Events("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != len(rep.Timeline) || list.Items[0].Regarding.Kind != "ConfigMap" {
		t.Errorf("%v, %+v; want them about the record", err, list.Items)
	}
}

func TestForbiddenEventsReturnAHint(t *testing.T) {
	client := fake.NewClientset(liveDeployment())
	client.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &eventsv1.Event{}, apierrors.NewForbidden(schema.GroupResource{Group: "events.k8s.io", Resource: "events"}, "x", nil)
	})
	channel := &kubernetesEvents{client: client, manifests: declared{}, instance: "backout-0"}
	rep := report.Of(reporttest.Record(reporttest.Act(), reporttest.Shed), settings())
	if _, err := channel.deliver(t.Context(), &rep, rep.Timeline, ""); err == nil || !strings.Contains(err.Error(), "BACKOUT_EVENTS=false") {
		t.Errorf("got %v; want an error that says what to grant", err)
	}
}
