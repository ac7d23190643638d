package ledger_test

import (
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/upcommerce/backout/rollback/ledger"
)

// The first installation serves a namespace, and goes on to. Another one is named to every
// later one; pauses stay.
func TestANamespaceIsServedByOneInstallation(t *testing.T) {
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: ledger.PausesName, Namespace: "paused", Annotations: map[string]string{"backout.dev/paused": "by ann"},
	}})
	serve := func(own, namespace string) string {
		t.Helper()
		got, err := ledger.New(ledger.Options{Client: client, Own: own}).Serve(t.Context(), namespace)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, namespace := range []string{"shop", "paused"} {
		for _, own := range []string{"first", "first", "second", "first"} {
			if got := serve(own, namespace); got != "first" {
				t.Errorf("namespace %s is served by the backout in namespace %q, want first", namespace, got)
			}
		}
	}
	cm, err := client.CoreV1().ConfigMaps("paused").Get(t.Context(), ledger.PausesName, metav1.GetOptions{})
	if err != nil || cm.Annotations["backout.dev/paused"] != "by ann" {
		t.Errorf("the pause is %q, %v", cm.Annotations["backout.dev/paused"], err)
	}
}

func TestTwoInstallationsThatStartTogetherAgree(t *testing.T) {
	client := fake.NewClientset()
	got := make([]string, 8)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			got[i], _ = ledger.New(ledger.Options{Client: client, Own: string(rune('a' + i))}).Serve(t.Context(), "shop")
		})
	}
	all.Wait()
	for _, installation := range got {
		if installation == "" || installation != got[0] {
			t.Errorf("the installations do not agree: %q", got)
		}
	}
}
