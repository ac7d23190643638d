package ledger_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

// numbered makes the fake clientset count resourceVersions in decimal numbers.
func numbered(client *fake.Clientset) *fake.Clientset {
	version := 98
	client.PrependReactor("*", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if write, ok := a.(clienttesting.UpdateAction); ok { // a CreateAction has the same methods
			version++
			write.GetObject().(*corev1.ConfigMap).ResourceVersion = strconv.Itoa(version)
		}
		return false, nil, nil
	})
	return client
}

// startFollowing lets the ledger follow its records until the test ends. It is called in a
// synctest bubble, and returns once the watches are established.
func startFollowing(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Follow(ctx, func(rollback.Record) {}) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Follow: %v", err)
		}
	})
	synctest.Wait()
}

// cached returns the cached records of a release; "unknown" if not all are known.
func cached(l *ledger.Ledger, namespace, release string) string {
	synctest.Wait()
	records, err := l.Records(context.Background(), rollback.Key{Namespace: namespace, Release: release}, rollback.Cached)
	if err != nil {
		return "unknown"
	}
	return revisions(records)
}

func TestCachedRecordsAreThoseThatTheWatchDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := numbered(fake.NewClientset())
		l := newLedger(client, "shop")
		save(t, l, aRecord("shop", "web", 10), aRecord("shop", "web", 9), aRecord("other", "web", 1))
		expect := func(namespace, release, want, rule string) {
			t.Helper()
			if got := cached(l, namespace, release); got != want {
				t.Errorf("%s: got %q, want %q", rule, got, want)
			}
		}
		expect("shop", "web", "unknown", "nothing is known before the watch has delivered")
		startFollowing(t, l)
		expect("shop", "web", "shop/web/9 shop/web/10", "the delivered records are cached, oldest revision first")
		expect("shop", "api", "", "a release without records is known to have none")
		expect("other", "web", "unknown", "nothing is known of a namespace that is not followed")
		records, _ := l.Records(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}, rollback.Cached)
		records[0].Signals[0].Alert = "changed"
		again, _ := l.Records(t.Context(), records[0].Key, rollback.Cached)
		if again[0].Signals[0].Alert != "CanaryErrors" {
			t.Error("a caller that changes its records does not change the cached ones")
		}
		save(t, l, aRecord("shop", "web", 11))
		expect("shop", "web", "shop/web/9 shop/web/10 shop/web/11", "a new record is cached")
		if err := l.Delete(t.Context(), again[1]); err != nil {
			t.Fatal(err)
		}
		expect("shop", "web", "shop/web/9 shop/web/11", "a deleted record is dropped")
		cm := configMap(t, client, "shop", ledger.Name("web", 11))
		cm.Data["record.yaml"] = "{"
		if _, err := client.CoreV1().ConfigMaps("shop").Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		expect("shop", "web", "unknown", "a record that cannot be decoded is not left out")
	})
}

func TestCachedRecordsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(numbered(fake.NewClientset()), "shop")
		large := aRecord("shop", "large", 1)
		large.Ignored = slices.Repeat([]string{strings.Repeat("x", 3_990)}, 50)
		more := large
		more.Release = "more"
		startFollowing(t, l)
		const fit = 41
		got := 0
		for i := range fit {
			large.Release, large.Revision = fmt.Sprintf("large-%d", i), 1
			save(t, l, large)
		}
		save(t, l, more, aRecord("shop", "web", 1))
		for i := range fit {
			got += strings.Count(cached(l, "shop", fmt.Sprintf("large-%d", i)), "shop/large-")
		}
		if got != fit {
			t.Errorf("%d records are cached, want %d: there is room for 8 MiB", got, fit)
		}
		for release, want := range map[string]string{"more": "unknown", "web": "shop/web/1"} {
			if got := cached(l, "shop", release); got != want {
				t.Errorf("cached records of %s are %q, want %q: there is room for 8 MiB", release, got, want)
			}
		}
		records, err := l.Records(t.Context(), large.Key, rollback.Stored)
		if err != nil || l.Delete(t.Context(), records[0]) != nil {
			t.Fatal(err)
		}
		save(t, l, func() rollback.Record { r := more; r.Revision = 2; return r }())
		if got := cached(l, "shop", "more"); got != "unknown" {
			t.Errorf("of a release of which one record did not fit, nothing is cached: got %q", got)
		}
	})
}

// TestATargetFullOfRecordsLeavesRoomInTheCache: those of another would be read from the API
// server for each alert.
func TestATargetFullOfRecordsLeavesRoomInTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(numbered(fake.NewClientset()), "shop", "payments")
		startFollowing(t, l)
		large := aRecord("shop", "large", 1)
		large.Ignored = slices.Repeat([]string{strings.Repeat("x", 3_990)}, 50)
		for i := range 60 {
			large.Release = fmt.Sprintf("large-%d", i)
			save(t, l, large)
		}
		for i := range 20 {
			large.Key = rollback.Key{Namespace: "payments", Release: fmt.Sprintf("web-%d", i)}
			save(t, l, large)
			if got := cached(l, "payments", large.Release); got == "unknown" {
				t.Errorf("record %d of payments, which has less than shop, is not cached", i)
			}
		}
	})
}

// TestRecordsSinceReturnsEverythingStoredBefore: a watch delivers everything in the order in
// which it was stored.
func TestRecordsSinceReturnsEverythingStoredBefore(t *testing.T) {
	for name, stuck := range map[string]bool{"the watch delivers": false, "the watch is stuck": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := numbered(fake.NewClientset())
				if stuck {
					client.PrependWatchReactor("configmaps", func(clienttesting.Action) (bool, watch.Interface, error) {
						return true, watch.NewFake(), nil
					})
				}
				l := newLedger(client, "shop")
				save(t, l, aRecord("shop", "web", 1))
				startFollowing(t, l)
				save(t, newLedger(client, "shop"), aRecord("shop", "web", 2))
				stored, err := l.Save(t.Context(), aRecord("shop", "web", 3))
				if err != nil {
					t.Fatal(err)
				}
				client.ClearActions()
				began := time.Now()
				records, err := l.RecordsSince(t.Context(), stored)
				if got := revisions(records); err != nil || got != "shop/web/1 shop/web/2 shop/web/3" {
					t.Errorf("every record that was stored before is returned: got %q, %v", got, err)
				}
				if requests := len(client.Actions()); requests > 0 != stuck {
					t.Errorf("the store is read if the watch delivers nothing, and only then: got %d requests", requests)
				}
				if took := time.Since(began); took > 100*time.Millisecond {
					t.Errorf("a watch that is stuck delays for 100ms at most: took %s", took)
				}
			})
		})
	}
	t.Run("the watch has delivered an older version", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client := numbered(fake.NewClientset())
			events := watch.NewFake()
			client.PrependWatchReactor("configmaps", func(clienttesting.Action) (bool, watch.Interface, error) { return true, events, nil })
			l := newLedger(client, "shop")
			old, err := l.Save(t.Context(), aRecord("shop", "web", 3)) // version 99; the next has 100
			if err != nil {
				t.Fatal(err)
			}
			startFollowing(t, l)
			stored, err := l.Save(t.Context(), old)
			if err != nil {
				t.Fatal(err)
			}
			save(t, newLedger(client, "shop"), aRecord("shop", "web", 4))
			if records, err := l.RecordsSince(t.Context(), stored); err != nil || revisions(records) != "shop/web/3 shop/web/4" {
				t.Errorf("an older version of the record does not prove that later records were delivered: got %q, %v", revisions(records), err)
			}
			events.Modify(configMap(t, client, "shop", ledger.Name("web", 3)))
			events.Add(configMap(t, client, "shop", ledger.Name("web", 4)))
		})
	})
}

// TestCachedRecordsAreCompleteAfterAWatchBreaks: a watch breaks, and everything is read
// again.
func TestCachedRecordsAreCompleteAfterAWatchBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := numbered(fake.NewClientset())
		var first *watch.FakeWatcher
		client.PrependWatchReactor("configmaps", func(clienttesting.Action) (bool, watch.Interface, error) {
			if first != nil {
				return false, nil, nil
			}
			first = watch.NewFake()
			return true, first, nil
		})
		l := newLedger(client, "shop")
		save(t, l, aRecord("shop", "web", 3), aRecord("shop", "web", 4))
		startFollowing(t, l)
		save(t, l, aRecord("shop", "web", 5))
		if err := client.CoreV1().ConfigMaps("shop").Delete(t.Context(), ledger.Name("web", 3), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := cached(l, "shop", "web"); got != "shop/web/3 shop/web/4" {
			t.Errorf("only delivered records are cached: got %q", got)
		}
		first.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		time.Sleep(time.Second)
		if got := cached(l, "shop", "web"); got != "shop/web/4 shop/web/5" {
			t.Errorf("after a break, records that were created or deleted meanwhile are known: got %q", got)
		}
	})
}
