package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// TestLedger runs all tests that need a real API server in one sandbox.
func TestLedger(t *testing.T) {
	s, client := cluster(t, own, "shop", "pay", "races")
	t.Run("Delete", func(t *testing.T) { deletes(t, client) })
	t.Run("Pauses", func(t *testing.T) { pauses(t, client) })
	t.Run("PauseRaces", func(t *testing.T) { pauseRaces(t, client) })
	t.Run("PauseForbidden", func(t *testing.T) { pauseForbidden(t, s) })
	t.Run("Follow", func(t *testing.T) { follows(t, client) })
	t.Run("FollowForbidden", func(t *testing.T) { followsForbidden(t, s, client) })
	t.Run("Leader", func(t *testing.T) { leads(t, s, client) })
}

func newLedger(client kubernetes.Interface) *ledger.Ledger {
	return ledger.New(ledger.Options{Client: client, Namespaces: []string{"shop", "pay"}, Own: own})
}

func record(namespace, release string, revision int) rollback.Record {
	return rollback.Record{
		Key: rollback.Key{Namespace: namespace, Release: release}, Revision: revision, UID: "uid", Opened: time.Now(),
		Decisions: []rollback.Decision{{Verdict: rollback.Act, Reason: "an alert fires", At: time.Now()}},
	}
}

func save(t *testing.T, l *ledger.Ledger, r rollback.Record) rollback.Record {
	t.Helper()
	r, err := l.Save(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func deletes(t *testing.T, client kubernetes.Interface) {
	l := newLedger(client)
	read := save(t, l, record("shop", "web", 3))
	written := read
	written.Closed = time.Now()
	written = save(t, l, written)
	if _, err := l.Save(t.Context(), read); !errors.Is(err, rollback.ErrConflict) {
		t.Errorf("a record that another client has changed is not written: got %v", err)
	}
	if err := l.Delete(t.Context(), read); !errors.Is(err, rollback.ErrConflict) {
		t.Errorf("a record that another client has changed is not deleted: got %v", err)
	}
	if err := l.Delete(t.Context(), written); err != nil {
		t.Errorf("a record that has not changed since it was read is deleted: got %v", err)
	}
	if err := l.Delete(t.Context(), written); err != nil {
		t.Errorf("deleting a deleted record is not an error: got %v", err)
	}
	again := save(t, l, record("shop", "web", 3))
	if err := l.Delete(t.Context(), written); !errors.Is(err, rollback.ErrConflict) {
		t.Errorf("a record that was deleted and created again is another one: got %v", err)
	}
	if err := l.Delete(t.Context(), again); err != nil {
		t.Fatal(err)
	}
}

func pauses(t *testing.T, client kubernetes.Interface) {
	l := newLedger(client)
	web := rollback.Key{Namespace: "shop", Release: "web"}
	want := func(text string) {
		t.Helper()
		if got, err := l.Paused(t.Context(), web); got != text || err != nil {
			t.Errorf("want %q, got %q, %v", text, got, err)
		}
	}
	want("")
	if err := l.Pause(t.Context(), ledger.Scope{Namespace: "shop"}, "since noon by ann: the sale"); err != nil {
		t.Fatal(err)
	}
	want("namespace shop is paused: since noon by ann: the sale")
	// As kubectl annotate does.
	annotate(t, client, own, `{"metadata":{"annotations":{"backout.dev/paused-everywhere":"by bob"}}}`)
	annotate(t, client, "shop", `{"metadata":{"annotations":{"backout.dev/paused.web":"by cyd"}}}`)
	want("everything is paused: by bob; namespace shop is paused: since noon by ann: the sale; release shop/web is paused: by cyd")
	if all, err := l.All(t.Context()); len(all) != 0 || err != nil {
		t.Errorf("a pause is not a record: got %v, %v", all, err)
	}
	for _, scope := range []ledger.Scope{{}, {Namespace: "shop"}, {Namespace: "shop", Release: "web"}} {
		if was, err := l.Resume(t.Context(), scope); !was || err != nil {
			t.Errorf("%s was paused, and is resumed: got %t, %v", scope, was, err)
		}
		if was, err := l.Resume(t.Context(), scope); was || err != nil {
			t.Errorf("%s is not paused any more: got %t, %v", scope, was, err)
		}
	}
	want("")
	if err := l.Pause(t.Context(), ledger.Scope{Namespace: "nowhere"}, "by ann"); err == nil || !strings.Contains(err.Error(), "is namespace nowhere misspelt") {
		t.Errorf("a namespace that does not exist cannot be paused: got %v", err)
	}
}

// annotate creates the ConfigMap of a namespace's pauses, without a label, if it does not exist, and patches it.
func annotate(t *testing.T, client kubernetes.Interface, namespace, patch string) {
	t.Helper()
	maps := client.CoreV1().ConfigMaps(namespace)
	_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ledger.PausesName}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if _, err := maps.Patch(t.Context(), ledger.PausesName, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// pauseRaces pauses 20 releases at once, in a namespace without a pause.
func pauseRaces(t *testing.T, client kubernetes.Interface) {
	l := newLedger(client)
	const operators = 20
	var all sync.WaitGroup
	for i := range operators {
		all.Go(func() {
			if err := l.Pause(t.Context(), ledger.Scope{Namespace: "races", Release: fmt.Sprint("r", i)}, "by ann"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range operators {
		if got, err := l.Paused(t.Context(), rollback.Key{Namespace: "races", Release: fmt.Sprint("r", i)}); got == "" || err != nil {
			t.Errorf("no pause of %d operators at once may be lost: r%d: got %q, %v", operators, i, got, err)
		}
	}
}

// guest returns the configuration of a user without rights.
func guest(s *sandbox.Sandbox) *rest.Config {
	config := s.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: "guest"}
	return config
}

func pauseForbidden(t *testing.T, s *sandbox.Sandbox) {
	l := newLedger(clientFor(t, guest(s)))
	if _, err := l.Paused(t.Context(), rollback.Key{Namespace: "shop", Release: "web"}); err == nil ||
		!strings.Contains(err.Error(), "allow backout to get ConfigMap backout.v1 in namespace backout") {
		t.Errorf("without the right to read pauses, the error says what to do: got %v", err)
	}
	if err := l.Pause(t.Context(), ledger.Scope{}, "by ann"); err == nil || !strings.Contains(err.Error(), "create and patch ConfigMaps in namespace backout") {
		t.Errorf("without the right to pause, the error says what to do: got %v", err)
	}
}

// news is one call of Follow's callback.
type news struct {
	rollback.Record
	at time.Time
}

// follow follows the records until the test ends.
func follow(t *testing.T, l *ledger.Ledger) <-chan news {
	t.Helper()
	received := make(chan news, 1000)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Follow(ctx, func(r rollback.Record) { received <- news{r, time.Now()} }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the end of Follow is not an error: got %v", err)
		}
	})
	return received
}

func next(t *testing.T, received <-chan news) news {
	t.Helper()
	select {
	case n := <-received:
		return n
	case <-time.After(patience):
		t.Fatalf("received nothing in %s", patience)
		return news{}
	}
}

func follows(t *testing.T, client kubernetes.Interface) {
	l := newLedger(client)
	r := save(t, l, record("shop", "web", 1))
	received := follow(t, l)
	if n := next(t, received); n.Version != r.Version {
		t.Errorf("at the start, every record is delivered: got %v", n.Record)
	}
	if err := l.Pause(t.Context(), ledger.Scope{Namespace: "shop"}, "by ann"); err != nil {
		t.Fatal(err)
	}
	const changes = 50
	var sum, longest time.Duration
	for i := 1; i <= changes; i++ {
		r.Made = i
		began := time.Now()
		r = save(t, l, r)
		n := next(t, received)
		took := n.at.Sub(began)
		sum += took
		longest = max(longest, took)
		if n.Version != r.Version || n.Made != i {
			t.Errorf("the record is delivered as it was written, and a pause is not delivered: want %+v, got %+v", r, n.Record)
		}
	}
	t.Logf("%d changes: delivered %s after they were sent on average, %s at most", changes, (sum / changes).Round(time.Microsecond), longest.Round(time.Microsecond))
}

// followsForbidden follows as a user who may not read the namespace pay at first.
func followsForbidden(t *testing.T, s *sandbox.Sandbox, client kubernetes.Interface) {
	allow(t, client, "shop")
	l := newLedger(client)
	save(t, l, record("pay", "bank", 1))
	var log bytes.Buffer
	guests := ledger.New(ledger.Options{
		Client: clientFor(t, guest(s)), Namespaces: []string{"pay", "shop"}, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	var received <-chan news
	t.Run("following", func(t *testing.T) {
		received = follow(t, guests)
		if n := next(t, received); n.Namespace != "shop" {
			t.Errorf("a namespace that cannot be watched does not hide the others: got %v", n.Record)
		}
		allow(t, client, "pay")
		began := time.Now()
		if n := next(t, received); n.Namespace != "pay" {
			t.Errorf("as soon as a namespace can be watched, its records are delivered: got %v", n.Record)
		}
		t.Logf("delivered %s after it was allowed", time.Since(began).Round(time.Millisecond))
	})
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "namespace=pay") {
		t.Errorf("a namespace that cannot be watched is logged once: got\n%s", got)
	}
}

// allow gives the guest the right to read ConfigMaps in a namespace.
func allow(t *testing.T, client kubernetes.Interface, namespace string) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "guest"}
	_, err := client.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"configmaps"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: []rbacv1.Subject{{Kind: "User", Name: "guest"}}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "guest"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// leads runs replicas as processes: the first is killed, the second is stopped for longer than its lease, the third shuts down in order.
func leads(t *testing.T, s *sandbox.Sandbox, client kubernetes.Interface) {
	first := compete(t, s, "first")
	await(t, "a single replica leads", first.led)
	second := compete(t, s, "second")
	await(t, "the first one writes, and the second one has seen it", soon())

	first.signal(t, syscall.SIGKILL)
	killed := time.Now()
	await(t, "the second one leads", second.led)
	took(t, "a leader was killed: the next one led", killed, second, 10*time.Second)

	third := compete(t, s, "third")
	await(t, "the third one has seen the leader", soon())
	second.signal(t, syscall.SIGSTOP)
	stopped := time.Now()
	await(t, "the third one leads", third.led)
	took(t, "a leader was stopped: the next one led", stopped, third, 10*time.Second)
	second.signal(t, syscall.SIGCONT)
	await(t, "the second one ends", second.ended)
	since, _ := third.span()
	if _, last := second.span(); last.After(since) {
		t.Errorf("there are never two writers: the second replica wrote %s after the third one led", last.Sub(since))
	}
	if !strings.Contains(second.last, "does not lead") {
		t.Errorf("a replica that was stopped ends when it no longer leads: got %q", second.last)
	}

	fourth := compete(t, s, "fourth")
	await(t, "the fourth one has seen the leader", soon())
	third.signal(t, syscall.SIGTERM)
	ended := time.Now()
	await(t, "the fourth one leads", fourth.led)
	took(t, "a leader shut down in order: the next one led", ended, fourth, 2*time.Second)
	await(t, "the third one ends", third.ended)
	since, _ = fourth.span()
	if _, last := third.span(); last.After(since) || third.last != "ended in order" {
		t.Errorf("a leader that shuts down in order writes nothing after the next one leads: %s, %q", last.Sub(since), third.last)
	}
	lease, err := client.CoordinationV1().Leases(own).Get(t.Context(), ledger.LeaseName, metav1.GetOptions{})
	if err != nil || *lease.Spec.HolderIdentity != "fourth" || *lease.Spec.LeaseTransitions != 3 {
		t.Errorf("the Lease must name the leader: got %v, %v", lease, err)
	}
}

// soon is closed when a waiting replica has had time to read the Lease once.
func soon() <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(1500*time.Millisecond, func() { close(done) })
	return done
}

func took(t *testing.T, event string, from time.Time, r *replica, limit time.Duration) {
	t.Helper()
	since, _ := r.span()
	t.Logf("%s %s later", event, since.Sub(from).Round(time.Millisecond))
	if since.Sub(from) > limit {
		t.Errorf("%s more than %s later: %s", event, limit, since.Sub(from))
	}
}
