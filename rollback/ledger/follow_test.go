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

// follower follows a ledger and collects what it hears.
type follower struct {
	mu    sync.Mutex
	heard []rollback.Record
	gone  []string
	log   bytes.Buffer
	ended chan error
}

// follow is called in a bubble. It returns when the watches stand.
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
			f.heard = append(f.heard, r)
		})
	}()
	synctest.Wait()
	return f
}

// news returns what was heard since the last call.
func (f *follower) news() string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.heard = nil }()
	slices.SortStableFunc(f.heard, func(a, b rollback.Record) int { return strings.Compare(a.String(), b.String()) })
	return revisions(f.heard)
}

// versioned makes the fake clientset count resourceVersions, as the API server does.
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

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		l := newLedger(client, "shop", "pay")
		web := aRecord("shop", "web", 3)
		save(t, l, web, aRecord("pay", "bank", 1), aRecord("other", "web", 8))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		f := follow(ctx, client, "shop", "pay")
		if got := f.news(); got != "pay/bank/1 shop/web/3" {
			t.Errorf("at the start, every record of the ledger's namespaces is told: got %q", got)
		}
		save(t, l, aRecord("shop", "api", 5), aRecord("other", "web", 9))
		if got := f.news(); got != "shop/api/5" {
			t.Errorf("a new record is told: got %q", got)
		}
		records, err := l.Records(t.Context(), web.Key)
		if err != nil {
			t.Fatal(err)
		}
		changed := records[0]
		changed.Closed = at()
		if changed, err = l.Save(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(f.heard) != 1 || !f.heard[0].Closed.Equal(at()) || f.heard[0].Version != changed.Version {
			t.Errorf("a changed record is told as it is stored, with the mark to save it by: got %v", f.heard)
		}
		f.news()
		if err := l.Delete(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		if got := f.news(); got != "" {
			t.Errorf("a deletion is no news of a record: got %q", got)
		}
		if want := []string{"shop/web/3"}; !slices.Equal(f.gone, want) {
			t.Errorf("a deletion is told as one: got %v, want %v", f.gone, want)
		}
		save(t, l, web)
		if got := f.news(); got != "shop/web/3" {
			t.Errorf("a record that comes again is told: got %q", got)
		}
		stop()
		if err := <-f.ended; err != nil {
			t.Errorf("the end is no error: got %v", err)
		}
		if f.log.Len() > 0 {
			t.Errorf("where all is well, nothing is logged: got %s", &f.log)
		}
	})
}

// TestFollowCorrupt: somebody edits a record by hand, and mends it.
func TestFollowCorrupt(t *testing.T) {
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
		if got := f.news(); got != "shop/api/5" {
			t.Errorf("one corrupt record does not hide the others: got %q", got)
		}
		write("[")
		write(good)
		if got := f.news(); got != "shop/web/3" {
			t.Errorf("a record that was mended is told: got %q", got)
		}
		stop()
		_ = <-f.ended
		if got := f.log.String(); strings.Count(got, "\n") != 2 || strings.Count(got, "shop/backout.v1.web.v3") != 2 {
			t.Errorf("a corrupt record is logged by name, each time it is read: got\n%s", got)
		}
	})
}

// TestFollowTrouble: one namespace is forbidden for an hour, and its watch breaks
// once.
func TestFollowTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := versioned(fake.NewClientset())
		l := newLedger(client, "forbidden", "shop")
		save(t, l, aRecord("forbidden", "web", 1), aRecord("shop", "web", 3))
		var tries atomic.Int32
		var allowed atomic.Bool
		refuse := func(a clienttesting.Action) error {
			if allowed.Load() || a.GetNamespace() != "forbidden" {
				return nil
			}
			tries.Add(1)
			return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", errors.New("no role"))
		}
		client.PrependReactor("list", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
			err := refuse(a)
			return err != nil, nil, err
		})
		ctx, stop := context.WithCancel(t.Context())
		f := follow(ctx, client, "forbidden", "shop")
		if got := f.news(); got != "shop/web/3" {
			t.Errorf("a namespace that cannot be watched does not hide the others: got %q", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := f.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "namespace=forbidden") {
			t.Errorf("a namespace that cannot be watched is logged once: got\n%s", got)
		}
		// Between 5 s and 7.5 s each.
		if tries := tries.Load(); tries < 480 || tries > 730 {
			t.Errorf("it is tried again every few seconds: got %d times in an hour", tries)
		}
		allowed.Store(true)
		time.Sleep(8 * time.Second)
		if got := f.news(); got != "forbidden/web/1" {
			t.Errorf("once a namespace can be watched, its records are told: got %q", got)
		}
		stop()
		_ = <-f.ended
	})
}

// TestFollowAgain: a watch ends, as the API server ends each after some minutes.
func TestFollowAgain(t *testing.T) {
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
		if got := f.news(); got != "shop/web/3" {
			t.Errorf("at the start, every record is told: got %q", got)
		}
		// The watcher told of nothing for so long that it has to read everything again.
		save(t, l, aRecord("shop", "api", 5))
		if err := client.CoreV1().ConfigMaps("shop").Delete(t.Context(), ledger.Name("web", 3), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		first.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		time.Sleep(time.Second)
		if got := f.news(); got != "shop/api/5" {
			t.Errorf("after a break, what changed meanwhile is told, and nothing twice: got %q", got)
		}
		if want := []string{"shop/web/3"}; !slices.Equal(f.gone, want) {
			t.Errorf("after a break, what was deleted meanwhile is told: got %v, want %v", f.gone, want)
		}
		stop()
		_ = <-f.ended
	})
}
