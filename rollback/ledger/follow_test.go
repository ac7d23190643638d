package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

// follower follows a ledger and collects the records that it receives.
type follower struct {
	mu       sync.Mutex
	received []rollback.Record
	gone     []string
	log      bytes.Buffer
	ended    chan error
}

// follow is called in a synctest bubble. It returns once the watches are established.
func follow(ctx context.Context, client *fake.Clientset, namespaces ...string) *follower {
	f := &follower{ended: make(chan error, 1)}
	l := ledger.New(ledger.Options{
		Client: client, Namespaces: namespaces, Log: slog.New(slog.NewTextHandler(&f.log, nil)),
		Gone: func(k rollback.Key, revision int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.gone = append(f.gone, fmt.Sprintf("%s/%d", k, revision))
		},
	})
	go func() {
		f.ended <- l.Follow(ctx, func(r rollback.Record) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.received = append(f.received, r)
		})
	}()
	synctest.Wait()
	return f
}

// next returns the records that were received since the last call.
func (f *follower) next() string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.received = nil }()
	slices.SortStableFunc(f.received, func(a, b rollback.Record) int { return strings.Compare(a.String(), b.String()) })
	return revisions(f.received)
}

// versioned makes the fake clientset change the resourceVersion with every write, as the API
// server does.
func versioned(client *fake.Clientset) *fake.Clientset {
	var version int
	client.PrependReactor("*", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if write, ok := a.(clienttesting.UpdateAction); ok { // a CreateAction has the same methods
			version++
			write.GetObject().(*corev1.ConfigMap).ResourceVersion = strings.Repeat("i", version)
		}
		return false, nil, nil
	})
	return client
}

// A record can be made so that a receiver panics over it, and every replica follows it.
func TestARecordOverWhichAReceiverPanicsHidesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		registry, log := prometheus.NewRegistry(), &bytes.Buffer{}
		l := ledger.New(ledger.Options{Client: client, Namespaces: []string{"shop"}, Registerer: registry, Log: slog.New(slog.NewTextHandler(log, nil))})
		save(t, l, aRecord("shop", "api", 1), aRecord("shop", "poison", 1), aRecord("shop", "web", 1))
		var got []string
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- l.Follow(ctx, func(r rollback.Record) {
				if r.Release == "poison" {
					panic("a defect")
				}
				got = append(got, r.Release)
			})
		}()
		synctest.Wait()
		stop()
		if err := <-ended; err != nil || !slices.Equal(slices.Sorted(slices.Values(got)), []string{"api", "web"}) {
			t.Errorf("received %v, %v; want the other records", got, err)
		}
		if strings.Count(log.String(), "a defect") != 1 || !strings.Contains(log.String(), "backout.v1.poison.v1") {
			t.Errorf("the log has the record and the stack once: got %s", log)
		}
		err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_unreadable_records_total Records whose ConfigMap backout cannot read, by reason: damaged, or too large. A ConfigMap that did not change is counted once by each replica.
# TYPE backout_unreadable_records_total counter
backout_unreadable_records_total{reason="damaged"} 1
backout_unreadable_records_total{reason="too-large"} 0
`), "backout_unreadable_records_total")
		if err != nil {
			t.Error(err)
		}
	})
}

func TestFollowDeliversEveryChangeOfARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		l := newLedger(client, "shop", "pay")
		web := aRecord("shop", "web", 3)
		save(t, l, web, aRecord("pay", "bank", 1), aRecord("other", "web", 8))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		f := follow(ctx, client, "shop", "pay")
		if got := f.next(); got != "pay/bank/1 shop/web/3" {
			t.Errorf("at the start, every record of the ledger's namespaces is delivered: got %q", got)
		}
		save(t, l, aRecord("shop", "api", 5), aRecord("other", "web", 9))
		if got := f.next(); got != "shop/api/5" {
			t.Errorf("a new record is delivered: got %q", got)
		}
		records, err := l.Records(t.Context(), web.Key, rollback.Stored)
		if err != nil {
			t.Fatal(err)
		}
		changed := records[0]
		changed.Closed = at()
		if changed, err = l.Save(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(f.received) != 1 || !f.received[0].Closed.Equal(at()) || f.received[0].Version != changed.Version {
			t.Errorf("a changed record is delivered as it is stored, with the version that Save needs: got %v", f.received)
		}
		f.next()
		if err := l.Delete(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		if got := f.next(); got != "" {
			t.Errorf("a deletion is not delivered as a record: got %q", got)
		}
		if want := []string{"shop/web/3"}; !slices.Equal(f.gone, want) {
			t.Errorf("a deletion is reported to Options.Gone: got %v, want %v", f.gone, want)
		}
		save(t, l, web)
		if got := f.next(); got != "shop/web/3" {
			t.Errorf("a record that is created again is delivered: got %q", got)
		}
		stop()
		if err := <-f.ended; err != nil {
			t.Errorf("Follow returns no error when its context ends: got %v", err)
		}
		if f.log.Len() > 0 {
			t.Errorf("nothing is logged as long as nothing fails: got %s", &f.log)
		}
	})
}

// TestFollowLeavesOutACorruptRecord: an operator edits a record manually, breaks it and
// fixes it.
func TestFollowLeavesOutACorruptRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		l := newLedger(client, "shop")
		save(t, l, aRecord("shop", "web", 3), aRecord("shop", "api", 5))
		cm := configMap(t, client, "shop", "backout.v1.web.v3")
		good := cm.Data["record.yaml"]
		write := func(text string) {
			cm := cm.DeepCopy()
			cm.Data["record.yaml"] = text
			if _, err := client.CoreV1().ConfigMaps("shop").Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		write("{")
		ctx, stop := context.WithCancel(t.Context())
		f := follow(ctx, client, "shop")
		if got := f.next(); got != "shop/api/5" {
			t.Errorf("one corrupt record does not hide the others: got %q", got)
		}
		write("[")
		write(good)
		if got := f.next(); got != "shop/web/3" {
			t.Errorf("a record that was fixed is delivered: got %q", got)
		}
		stop()
		_ = <-f.ended
		if got := f.log.String(); strings.Count(got, "\n") != 2 || strings.Count(got, "shop/backout.v1.web.v3") != 2 {
			t.Errorf("a corrupt record is logged by name, each time it is read: got\n%s", got)
		}
	})
}

// TestFollowRetriesANamespaceThatCannotBeWatched: one namespace is forbidden for an hour.
func TestFollowRetriesANamespaceThatCannotBeWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		l := newLedger(client, "forbidden", "shop")
		save(t, l, aRecord("forbidden", "web", 1), aRecord("shop", "web", 3))
		var attempts atomic.Int32
		var allowed atomic.Bool
		refuse := func(a clienttesting.Action) error {
			if allowed.Load() || a.GetNamespace() != "forbidden" {
				return nil
			}
			attempts.Add(1)
			return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", errors.New("no role"))
		}
		client.PrependReactor("list", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
			err := refuse(a)
			return err != nil, nil, err
		})
		ctx, stop := context.WithCancel(t.Context())
		f := follow(ctx, client, "forbidden", "shop")
		if got := f.next(); got != "shop/web/3" {
			t.Errorf("a namespace that cannot be watched does not hide the others: got %q", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := f.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "namespace=forbidden") {
			t.Errorf("a namespace that cannot be watched is logged once: got\n%s", got)
		}
		// Between 5 s and 7.5 s each.
		if attempts := attempts.Load(); attempts < 480 || attempts > 730 {
			t.Errorf("a namespace is retried every few seconds: got %d attempts in an hour", attempts)
		}
		allowed.Store(true)
		time.Sleep(8 * time.Second)
		if got := f.next(); got != "forbidden/web/1" {
			t.Errorf("once a namespace can be watched, its records are delivered: got %q", got)
		}
		stop()
		_ = <-f.ended
	})
}

// TestFollowMissesNothingWhenAWatchBreaks: a watch ends, as the API server ends each after
// some minutes.
func TestFollowMissesNothingWhenAWatchBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		l := newLedger(client, "shop")
		save(t, l, aRecord("shop", "web", 3))
		var first *watch.FakeWatcher
		client.PrependWatchReactor("configmaps", func(clienttesting.Action) (bool, watch.Interface, error) {
			if first != nil {
				return false, nil, nil
			}
			first = watch.NewFake()
			return true, first, nil
		})
		ctx, stop := context.WithCancel(t.Context())
		f := follow(ctx, client, "shop")
		if got := f.next(); got != "shop/web/3" {
			t.Errorf("at the start, every record is delivered: got %q", got)
		}
		// The watch has missed so much that everything has to be read again.
		save(t, l, aRecord("shop", "api", 5))
		if err := client.CoreV1().ConfigMaps("shop").Delete(t.Context(), ledger.Name("web", 3), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		first.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		time.Sleep(time.Second)
		if got := f.next(); got != "shop/api/5" {
			t.Errorf("after a break, changes made meanwhile are delivered, and nothing is delivered twice: got %q", got)
		}
		if want := []string{"shop/web/3"}; !slices.Equal(f.gone, want) {
			t.Errorf("after a break, records deleted meanwhile are reported to Options.Gone: got %v, want %v", f.gone, want)
		}
		stop()
		_ = <-f.ended
	})
}

// TestFollowDeliversRecordsBeyondItsFirstList: those for which a list has no room are read one
// by one.
func TestFollowDeliversRecordsBeyondItsFirstList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		r := aRecord("shop", "large", 1)
		r.Ignored = slices.Repeat([]string{strings.Repeat("x", 3_990)}, 50)
		for i := range 60 {
			r.Revision = i + 1
			save(t, newLedger(client, "shop"), r)
		}
		ctx, stop := context.WithCancel(t.Context())
		f := follow(ctx, client, "shop")
		if got := strings.Count(f.next(), "shop/large/"); got != 60 {
			t.Errorf("%d records of 12 MiB are delivered, want 60", got)
		}
		stop()
		_ = <-f.ended
		if f.log.Len() > 0 {
			t.Errorf("nothing is logged: got %s", &f.log)
		}
	})
}
