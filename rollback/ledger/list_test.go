package ledger_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

// forged stores ConfigMaps of another client that are labelled as open records of a release.
func forged(t *testing.T, client *fake.Clientset, n int, k rollback.Key, data map[string]string) {
	t.Helper()
	for i := range n {
		cm := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: ledger.Name(k.Release, i+1), ResourceVersion: "1", Labels: map[string]string{
				"app.kubernetes.io/managed-by": "backout", "backout.dev/release": k.Release, "backout.dev/revision": fmt.Sprint(i + 1), "backout.dev/open": "true",
			}}, Data: data,
		}
		if err := client.Tracker().Add(cm); err != nil {
			t.Fatal(err)
		}
	}
}

// TestATargetFullOfRecordsHidesNoneOfAnother: a new leader finds open records with Open
// alone.
func TestATargetFullOfRecordsHidesNoneOfAnother(t *testing.T) {
	for name, data := range map[string]map[string]string{
		"as records":  {"record.yaml": strings.Repeat("x", 1<<20)},
		"next to one": {"record.yaml": "{}", "more": strings.Repeat("x", 1<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			forged(t, client, 40, rollback.Key{Namespace: "aaa", Release: "web"}, data)
			l := newLedger(client, "aaa", "payments")
			save(t, l, aRecord("payments", "web", 3))
			open, err := l.Open(t.Context())
			if diff := cmp.Diff([]rollback.Key{{Namespace: "payments", Release: "web"}}, open); diff != "" {
				t.Errorf("each namespace has its own bound (-want +got):\n%s", diff)
			}
			if err == nil || !strings.Contains(err.Error(), "namespace aaa") || !strings.Contains(err.Error(), "more than 32 MiB; the others are left out") {
				t.Errorf("the namespace whose records are left out is named: got %v", err)
			}
		})
	}
}

// TestATargetThatDoesNotAnswerDelaysNoOther: the leader looks for open records for 30 s.
func TestATargetThatDoesNotAnswerDelaysNoOther(t *testing.T) {
	listed := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.Contains(q.URL.Path, "/payments/") {
			close(listed)
		}
		select {
		case <-listed:
		case <-time.After(20 * time.Second):
			t.Error("the others are listed while a namespace does not answer")
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"ConfigMapList","apiVersion":"v1","items":[]}`))
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newLedger(client, "slow", "payments").Open(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestListsHavePages: one answer of the API server is bounded by the size of its objects.
func TestListsHavePages(t *testing.T) {
	client := fake.NewClientset()
	l := newLedger(client, "shop")
	for _, list := range []func() error{
		func() error { _, err := l.Open(t.Context()); return err },
		func() error { _, err := l.All(t.Context()); return err },
		func() error {
			_, err := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, rollback.Stored)
			return err
		},
	} {
		client.ClearActions()
		if err := list(); err != nil {
			t.Fatal(err)
		}
		for _, a := range client.Actions() {
			if o := a.(clienttesting.ListActionImpl).ListOptions; o.Limit != 20 {
				t.Errorf("a list asks for 20 records at a time: got %+v", o)
			}
		}
	}
}

// TestAReleaseHasABoundOfItsRecords: each webhook about it reads all of them.
func TestAReleaseHasABoundOfItsRecords(t *testing.T) {
	k := rollback.Key{Namespace: "shop", Release: "web"}
	for name, data := range map[string]map[string]string{
		"large": {"record.yaml": strings.Repeat("x", 250<<10)}, "with other data": {"more": strings.Repeat("x", 500<<10)},
	} {
		for _, followed := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " followed ", followed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client := numbered(fake.NewClientset())
					forged(t, client, 100, k, data)
					l := newLedger(client, "shop")
					if followed {
						startFollowing(t, l)
					}
					client.ClearActions()
					for _, c := range []rollback.Consistency{rollback.Recent, rollback.Stored} {
						if _, err := l.Records(t.Context(), k, c); err == nil || !strings.Contains(err.Error(), "more than 4 MiB") {
							t.Errorf("a release with too many records is an error: got %v", err)
						}
					}
					if n := len(client.Actions()); followed && n > 0 {
						t.Errorf("they are not read at all once the watch has delivered their size: got %d requests", n)
					}
				})
			})
		}
	}
}

// TestListsInProgressAreBounded: in each of 32 webhooks in progress a release is read.
func TestListsInProgressAreBounded(t *testing.T) {
	var inProgress, most atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := inProgress.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(20 * time.Millisecond)
		inProgress.Add(-1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"ConfigMapList","apiVersion":"v1","items":[]}`))
	}))
	defer server.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(client, "shop")
	for c, want := range map[rollback.Consistency]int32{rollback.Stored: 3, rollback.Recent: 2} {
		most.Store(0)
		var all sync.WaitGroup
		for i := range 32 {
			all.Go(func() {
				if _, err := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: fmt.Sprint("web-", i)}, c); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := most.Load(); n > want {
			t.Errorf("%d answers of up to their bound are in memory at a time, want %d at most", n, want)
		}
	}
}
