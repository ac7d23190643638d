package ledger_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

// The tests of this package run on client-go's fake clientset. It does not compare
// resourceVersions: tests provoke ErrConflict by an answer, and the end-to-end scenarios show
// that a real API server gives this answer.

func at() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 123456789, time.UTC) }

// newLedger has backout's own namespace, and logs nothing.
func newLedger(client kubernetes.Interface, namespaces ...string) *ledger.Ledger {
	return ledger.New(ledger.Options{
		Client: client, Namespaces: namespaces, Own: "backout", Log: slog.New(slog.DiscardHandler),
		Summary: func(r *rollback.Record) string { return fmt.Sprintf("revision %d of %s", r.Revision, r.Key) },
	})
}

// aRecord returns a small one.
func aRecord(namespace, release string, revision int) rollback.Record {
	return rollback.Record{
		Key: rollback.Key{Namespace: namespace, Release: release}, Revision: revision,
		UID: fmt.Sprintf("uid-%d", revision), Opened: at().Add(time.Duration(revision) * time.Minute),
		Signals:   []rollback.Signal{{Alert: "CanaryErrors", Level: rollback.LevelRollback, Fingerprint: "9c", StartsAt: at(), Received: at(), LastSeen: at()}},
		Decisions: []rollback.Decision{{Verdict: rollback.Act, Reason: "an alert fires", Shed: true, At: at()}},
	}
}

// save stores new records.
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

func TestRecordIsReadByItsName(t *testing.T) {
	l := newLedger(fake.NewClientset(), "shop")
	want := aRecord("shop", "web", 3)
	save(t, l, want, aRecord("shop", "web", 4))
	got, ok, err := l.Record(t.Context(), want.Key, 3)
	if err != nil || !ok || got.UID != want.UID {
		t.Errorf("a record is read by its name: got %s, %t, %v", got.UID, ok, err)
	}
	if _, ok, err := l.Record(t.Context(), want.Key, 5); ok || err != nil {
		t.Errorf("a record that does not exist is no error: got %t, %v", ok, err)
	}
	client := fake.NewClientset()
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", errors.New("no role"))
	})
	if _, _, err := newLedger(client, "shop").Record(t.Context(), want.Key, 3); err == nil || !strings.Contains(err.Error(), "read the record of shop/web revision 3") {
		t.Errorf("the error names the record that cannot be read: got %v", err)
	}
}

func TestReadsSelectRecords(t *testing.T) {
	client := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "another-client"}, Data: map[string]string{"record.yaml": "{"},
	})
	l := newLedger(client, "shop", "pay")
	if err := l.Pause(t.Context(), ledger.Scope{Namespace: "shop"}, "not a record"); err != nil {
		t.Fatal(err)
	}
	closed := aRecord("shop", "web", 4)
	closed.Closed = at()
	save(t, l, aRecord("shop", "web", 10), aRecord("shop", "web", 9), closed, aRecord("shop", "api", 5),
		aRecord("pay", "web", 6), aRecord("other", "web", 8))

	records, err := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, rollback.Stored)
	if got := revisions(records); err != nil || got != "shop/web/4 shop/web/9 shop/web/10" {
		t.Errorf("Records returns a release's records, open or not, oldest revision first: got %s, %v", got, err)
	}
	recent, err := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, rollback.Recent)
	if diff := cmp.Diff(records, recent); diff != "" || err != nil {
		t.Errorf("a Recent read returns the same (-want +got):\n%s%v", diff, err)
	}
	one, ok, err := l.Record(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, 9)
	if diff := cmp.Diff(records[1], one); diff != "" || !ok || err != nil {
		t.Errorf("Record returns one record by its revision (-want +got):\n%s%v, %v", diff, ok, err)
	}
	if _, ok, err := l.Record(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, 8); ok || err != nil {
		t.Errorf("no record is no error: got %v, %v", ok, err)
	}
	records, err = l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "nothing"}, rollback.Stored)
	if err != nil || len(records) != 0 {
		t.Errorf("no records are no error: got %v, %v", records, err)
	}
	records, err = l.All(t.Context())
	if got := revisions(records); err != nil || got != "shop/web/10 shop/web/9 pay/web/6 shop/api/5 shop/web/4" {
		t.Errorf("All returns every record of the ledger's namespaces and no other, newest first: got %s, %v", got, err)
	}
	open, err := l.Open(t.Context())
	want := []rollback.Key{{Namespace: "shop", Release: "web"}, {Namespace: "pay", Release: "web"}, {Namespace: "shop", Release: "api"}}
	if diff := cmp.Diff(want, open); diff != "" || err != nil {
		t.Errorf("Open returns every release with an open record, once (-want +got):\n%s%v", diff, err)
	}
}

func revisions(records []rollback.Record) string {
	texts := make([]string, len(records))
	for i, r := range records {
		texts[i] = fmt.Sprintf("%s/%d", r.Key, r.Revision)
	}
	return strings.Join(texts, " ")
}

func TestANamespaceThatCannotBeReadIsNamed(t *testing.T) {
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
	broken := errors.New("etcd is down")
	for _, c := range []struct {
		name, version string
		answer        error
		want          error
	}{
		{"a new record that another client created first", "", apierrors.NewAlreadyExists(maps, "x"), rollback.ErrConflict},
		{"a known record that another client has changed", "1", apierrors.NewConflict(maps, "x", nil), rollback.ErrConflict},
		{"a known record that another client has deleted", "1", apierrors.NewNotFound(maps, "x"), rollback.ErrConflict},
		{"the namespace is being deleted", "", terminating, rollback.ErrUnknownRelease},
		{"the namespace is gone", "", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"), rollback.ErrUnknownRelease},
		{"no permission", "", apierrors.NewForbidden(maps, "", errors.New("no role")), nil},
		{"the API server fails", "1", broken, broken},
	} {
		client := fake.NewClientset()
		client.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, c.answer })
		r := aRecord("shop", "web", 3)
		r.Version = c.version
		_, err := newLedger(client).Save(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), "shop/web") {
			t.Errorf("%s: the error names the release: got %v", c.name, err)
			continue
		}
		for _, sentinel := range []error{rollback.ErrConflict, rollback.ErrUnknownRelease, broken} {
			if errors.Is(err, sentinel) != errors.Is(c.want, sentinel) {
				t.Errorf("%s: want %v, got %v", c.name, c.want, err)
			}
		}
	}
}

func TestSaveSendsTheVersionThatWasRead(t *testing.T) {
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
		t.Fatalf("a saved record has the version that was stored: got %q, %v", r.Version, err)
	}
	if _, err := l.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"create ", "update 42"}, verbs); diff != "" {
		t.Errorf("a record is created without a version and replaced only with the version that was read (-want +got):\n%s", diff)
	}
}

func TestDelete(t *testing.T) {
	client := fake.NewClientset()
	l := newLedger(client, "shop")
	r := aRecord("shop", "web", 3)
	if err := l.Delete(t.Context(), r); err == nil {
		t.Error("a record that was not read is not deleted: the stored one may differ")
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
		name         string
		answer, want error
	}{
		{"another client has changed it since", apierrors.NewConflict(maps, "x", nil), rollback.ErrConflict},
		{"no permission", apierrors.NewForbidden(maps, "x", nil), apierrors.NewForbidden(maps, "x", nil)},
		{"it is as it was read", nil, nil},
		{"it is gone already", nil, nil},
	} {
		answer = c.answer
		err := l.Delete(t.Context(), r)
		if (err == nil) != (c.want == nil) || errors.Is(err, rollback.ErrConflict) != errors.Is(c.want, rollback.ErrConflict) {
			t.Errorf("%s: want %v, got %v", c.name, c.want, err)
		}
		if precondition != "backout.v1.web.v3 42" {
			t.Errorf("%s: the request names the version to delete: got %q", c.name, precondition)
		}
	}
	if records, err := l.Records(t.Context(), r.Key, rollback.Stored); err != nil || len(records) != 0 {
		t.Errorf("a deleted record is gone: got %v, %v", records, err)
	}
}
