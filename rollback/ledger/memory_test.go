package ledger_test

import (
	"context"
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

// numbered makes the fake clientset count resourceVersions in numbers.
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

// followed has the ledger follow its records until the test ends. It is called in a
// bubble, and returns when the watches stand.
func followed(t *testing.T, l *ledger.Ledger) {
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

// atHand says what is at hand of a release.
func atHand(l *ledger.Ledger, namespace, release string) string {
	synctest.Wait()
	records, ok := l.RecordsAtHand(rollback.Key{Namespace: namespace, Release: release})
	if !ok {
		return "unknown"
	}
	return revisions(records)
}

func TestRecordsAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := numbered(fake.NewClientset())
		l := newLedger(client, "shop")
		save(t, l, aRecord("shop", "web", 10), aRecord("shop", "web", 9), aRecord("other", "web", 1))
		expect := func(namespace, release, want, rule string) {
			t.Helper()
			if got := atHand(l, namespace, release); got != want {
				t.Errorf("%s: got %q, want %q", rule, got, want)
			}
		}
		expect("shop", "web", "unknown", "before anything was told, nothing is known")
		followed(t, l)
		expect("shop", "web", "shop/web/9 shop/web/10", "what was told is at hand, oldest revision first")
		expect("shop", "api", "", "a release without records is known to have none")
		expect("other", "web", "unknown", "what is not followed is not known")
		records, _ := l.RecordsAtHand(rollback.Key{Namespace: "shop", Release: "web"})
		records[0].Accusations[0].Alert = "changed"
		again, _ := l.RecordsAtHand(records[0].Key)
		if again[0].Accusations[0].Alert != "CanaryErrors" {
			t.Error("what is at hand is the caller's to change")
		}
		save(t, l, aRecord("shop", "web", 11))
		expect("shop", "web", "shop/web/9 shop/web/10 shop/web/11", "a new record is at hand")
		if err := l.Delete(t.Context(), again[1]); err != nil {
			t.Fatal(err)
		}
		expect("shop", "web", "shop/web/9 shop/web/11", "a deleted record is not")
		cm := configMap(t, client, "shop", ledger.Name("web", 11))
		cm.Data["record.yaml"] = "{"
		if _, err := client.CoreV1().ConfigMaps("shop").Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		expect("shop", "web", "unknown", "a record that cannot be read is not passed over")
	})
}

func TestRecordsAtHandAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(numbered(fake.NewClientset()), "shop")
		large := aRecord("shop", "large", 1)
		large.Accusations[0].Summary = strings.Repeat("long ", 1<<20)
		more := large
		more.Release = "more"
		followed(t, l)
		save(t, l, large, more, aRecord("shop", "web", 1))
		for release, want := range map[string]string{"large": "shop/large/1", "more": "unknown", "web": "shop/web/1"} {
			if got := atHand(l, "shop", release); got != want {
				t.Errorf("at hand of %s is %q, want %q: there is room for 8 MiB", release, got, want)
			}
		}
		records, err := l.Records(t.Context(), large.Key)
		if err != nil || l.Delete(t.Context(), records[0]) != nil {
			t.Fatal(err)
		}
		save(t, l, func() rollback.Record { r := more; r.Revision = 2; return r }())
		if got := atHand(l, "shop", "more"); got != "unknown" {
			t.Errorf("at hand of a release of which one record did not fit is %q, want nothing", got)
		}
	})
}

// TestSince: what was stored before a record is known once the record was told.
func TestSince(t *testing.T) {
	for name, stuck := range map[string]bool{"the watch tells": false, "the watch is stuck": true} {
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
				followed(t, l)
				save(t, newLedger(client, "shop"), aRecord("shop", "web", 2))
				stored, err := l.Save(t.Context(), aRecord("shop", "web", 3))
				if err != nil {
					t.Fatal(err)
				}
				client.ClearActions()
				begun := time.Now()
				records, err := l.Since(t.Context(), stored)
				if got := revisions(records); err != nil || got != "shop/web/1 shop/web/2 shop/web/3" {
					t.Errorf("all that was stored before is known: got %q, %v", got, err)
				}
				if asked := len(client.Actions()); asked > 0 != stuck {
					t.Errorf("%d requests; the store is read where nothing is told, and only there", asked)
				}
				if took := time.Since(begun); took > 100*time.Millisecond {
					t.Errorf("it took %s; want 100ms at most for a watch that is stuck", took)
				}
			})
		})
	}
	t.Run("an older state was told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client := numbered(fake.NewClientset())
			events := watch.NewFake()
			client.PrependWatchReactor("configmaps", func(clienttesting.Action) (bool, watch.Interface, error) { return true, events, nil })
			l := newLedger(client, "shop")
			old, err := l.Save(t.Context(), aRecord("shop", "web", 3)) // version 99; the next has 100
			if err != nil {
				t.Fatal(err)
			}
			followed(t, l)
			stored, err := l.Save(t.Context(), old)
			if err != nil {
				t.Fatal(err)
			}
			save(t, newLedger(client, "shop"), aRecord("shop", "web", 4))
			if records, err := l.Since(t.Context(), stored); err != nil || revisions(records) != "shop/web/3 shop/web/4" {
				t.Errorf("the record as it was before tells nothing of what was stored since: got %q, %v", revisions(records), err)
			}
			events.Modify(configMap(t, client, "shop", ledger.Name("web", 3)))
			events.Add(configMap(t, client, "shop", ledger.Name("web", 4)))
		})
	})
}

// TestRecordsAtHandAgain: a watch breaks, and everything is read anew.
func TestRecordsAtHandAgain(t *testing.T) {
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
		followed(t, l)
		save(t, l, aRecord("shop", "web", 5))
		if err := client.CoreV1().ConfigMaps("shop").Delete(t.Context(), ledger.Name("web", 3), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := atHand(l, "shop", "web"); got != "shop/web/3 shop/web/4" {
			t.Errorf("what is at hand is what was told: got %q", got)
		}
		first.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		time.Sleep(time.Second)
		if got := atHand(l, "shop", "web"); got != "shop/web/4 shop/web/5" {
			t.Errorf("after a break, what was made and deleted meanwhile is known: got %q", got)
		}
	})
}
