package chart

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// bombs: what unpacks or decodes to far more than it has, in a release's Secret, a record and webhooks; alerts about thousands of releases;
// connections without a request.
func (a *attacked) bombs(t *testing.T) {
	a.forgeRevisions(t, "bomb", strings.Join(tracks("v1"), "\n---"), strings.Join(tracks("v2"), "\n---"))
	a.forgeBomb(t, "bomb", 700)
	a.fire(t, suspecting("bomb", 3))
	r := a.await(t, "shop", "backout.v1.bomb.v3", func(r rollback.Record) bool {
		return r.Decision().Verdict == rollback.Unsafe || r.Decision().Verdict == rollback.NoTarget
	})
	t.Logf("a Secret that unpacks to 700 MiB: %s: %s", r.Decision().Verdict, r.Decision().Reason)
	if r.Rollback != nil || !strings.Contains(r.Decision().Reason, "too large") {
		t.Errorf("nothing is rolled back past a revision that cannot be read: %s", report.Summary(&r))
	}

	a.writeRecord(t, "empty", "accusations: [{}"+strings.Repeat(",{}", 330_000)+"]\n") // words:api accusations
	eventually(t, "the record is counted as unreadable", func(context.Context) bool {
		return strings.Contains(a.metrics(t), `backout_unreadable_records_total{reason="too-large"} 1`+"\n") //nolint:contextcheck // the context of the test
	})
	t.Log("a record of a million empty entries: unreadable, too-large")
	if err := a.Client.CoreV1().ConfigMaps("shop").Delete(limited(t), "backout.v1.empty.v2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}

	many := []byte(`{"version":"4","groupKey":"g","status":"firing","alerts":[{}` + strings.Repeat(",{}", 340_000) + `]}`)
	codes := make(map[int]int)
	var mu sync.Mutex
	var posting sync.WaitGroup
	for range 16 {
		posting.Go(func() {
			code, _ := a.send(t, many)
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
		})
	}
	posting.Wait()
	t.Logf("16 webhooks of 1 MiB at once: answers %v", codes)
	if codes[http.StatusRequestEntityTooLarge]+codes[http.StatusServiceUnavailable] != 16 {
		t.Errorf("bombs are answered 413 or 503: got %v", codes)
	}

	for n, want := range map[int]int{6500: http.StatusRequestEntityTooLarge, 1900: http.StatusOK} {
		before := a.requests(t)
		code, text := a.send(t, releases(n))
		took := a.requests(t) - before
		t.Logf("one webhook about %d releases that do not exist: %d %.120s, %d requests to the API server", n, code, strings.TrimSpace(text), took)
		if code != want || took > 800 { // 100 releases are read, with some requests each
			t.Errorf("answered %d with %d requests, want %d and at most 800", code, took, want)
		}
	}
	a.idle(t, 2000)
}

// forgeBomb writes, as the editor, a third revision of a release whose gzip has so many MiB of spaces.
func (a *attacked) forgeBomb(t *testing.T, name string, mebibytes int) {
	t.Helper()
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	spaces := bytes.Repeat([]byte(" "), 1<<20)
	for range mebibytes {
		if _, err := w.Write(spaces); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(a.asEditor())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Secrets("shop").Create(limited(t), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: "sh.helm.release.v1." + name + ".v3", Labels: map[string]string{"name": name, "owner": "helm", "status": "deployed", "version": "3"},
		},
		Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte(base64.StdEncoding.EncodeToString(zipped.Bytes()))},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// releases is a webhook with an alert about each of n releases that do not exist.
func releases(n int) []byte {
	var all []map[string]string
	for i := range n {
		all = append(all, labelsOf("shop", fmt.Sprintf("no-%d", i), "rollback"))
	}
	return webhookOf(all...)
}

// requests returns how many requests backout has sent to the API server.
func (a *attacked) requests(t *testing.T) int {
	t.Helper()
	all, err := a.Sandbox.Requests()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range all {
		if r.User == account || r.Impersonator == account {
			n++
		}
	}
	return n
}

// idle opens so many connections, sends nothing, and checks that a sender is answered meanwhile.
func (a *attacked) idle(t *testing.T, n int) {
	t.Helper()
	address := strings.TrimPrefix(a.webhook, "http://")
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	began := time.Now()
	for range n {
		conn, err := (&net.Dialer{}).DialContext(limited(t), "tcp", address)
		if err != nil {
			t.Fatalf("after %d connections: %v", len(open), err)
		}
		open = append(open, conn)
	}
	opened, began := time.Since(began), time.Now()
	tries := 0
	eventually(t, "a sender is answered while connections are idle", func(context.Context) bool {
		// As Alertmanager does: connections that came later may have pushed the sender's out before its request was read.
		tries++
		code, _ := a.send(t, webhookOf(map[string]string{"alertname": "NotForBackout"})) //nolint:contextcheck // the context of the test
		return code == http.StatusOK
	})
	t.Logf("%d idle connections in %s: a sender is answered after %s, in %d tries", n, opened.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), tries)
}
