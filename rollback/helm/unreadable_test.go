package helm_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
)

// bomb makes a revision unpack to 100 MB.
func (c *cluster) bomb(t *testing.T, number int) {
	t.Helper()
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	if _, err := writer.Write(bytes.Repeat([]byte(" "), 100_000_000)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	packed := base64.StdEncoding.EncodeToString(zipped.Bytes())
	c.replaceData(number, base64.StdEncoding.EncodeToString([]byte(packed)))
}

// TestUnreadableRevisionsStayInTheHistory: a revision beyond the bounds is logged and
// counted once, and is neither read again nor the target of a rollback.
func TestUnreadableRevisionsStayInTheHistory(t *testing.T) {
	c := newCluster(t)
	registry := prometheus.NewRegistry()
	client, err := helm.New(helm.Options{Config: c.config, Registerer: registry, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c.Client = client
	c.bomb(t, 2)
	c.corrupt(1)
	for range 2 {
		history, err := c.History(t.Context(), web(), rollback.Stored)
		if err != nil || len(history) != 3 {
			t.Fatalf("the history has every revision: got %v, %v", history, err)
		}
		for _, r := range history.Older() {
			if !strings.Contains(r.Unreadable, secretName(r.Number)) || r.Status != rollback.StatusSuperseded || r.Content != "" {
				t.Errorf("an unreadable revision names its Secret, and has what the metadata says: got %+v", r)
			}
		}
		if _, _, found := rollback.Target(history, nil); found {
			t.Error("an unreadable revision is the target of a rollback")
		}
	}
	if n := c.reads["secrets/"+secretName(2)]; n != 1 {
		t.Errorf("a Secret that does not change is read once: got %d", n)
	}
	err = testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_unreadable_revisions_total Revisions of a release that backout cannot read in Helm's Secret or ConfigMap, by reason: damaged, or too large. One that did not change is usually counted once.
# TYPE backout_unreadable_revisions_total counter
backout_unreadable_revisions_total{reason="damaged"} 1
backout_unreadable_revisions_total{reason="too-large"} 1
`))
	if err != nil {
		t.Error(err)
	}
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err == nil || len(c.writes) != 0 {
		t.Errorf("nothing is written for a target that cannot be read: got %v, %v", c.writes, err)
	}
}

// TestUnreadableRevisionIsSuperseded: an old revision that cannot be read does not stop a
// rollback to a newer one.
func TestUnreadableRevisionIsSuperseded(t *testing.T) {
	c := newCluster(t)
	c.bomb(t, 1)
	c.relabel(1, "deployed")
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err != nil {
		t.Fatal(err)
	}
	for number, want := range map[int]string{1: "superseded", 3: "superseded", 4: "deployed"} {
		if got := c.object(t, "secrets/"+secretName(number)).GetLabels()["status"]; got != want {
			t.Errorf("one revision is deployed after a rollback: revision %d is %s, want %s", number, got, want)
		}
	}
}

// replaceData replaces the data of a revision's Secret.
func (c *cluster) replaceData(number int, data string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects["secrets/"+secretName(number)]
	_ = unstructured.SetNestedField(o.Object, data, "data", "release")
	c.put("secrets/"+secretName(number), o)
}
