package scenarios

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/stage"
)

// contains checks that the text contains all of these, and shows the text otherwise.
func contains(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s does not contain %q:\n%s", what, want, text)
		}
	}
}

// page returns a page of the status page.
func page(t *testing.T, b *stage.Backout, path string) string {
	t.Helper()
	code, text, err := b.Get(limited(t), path)
	if err != nil || code != http.StatusOK {
		t.Fatalf("%s is answered %d, %v: %s", path, code, err, text)
	}
	return text
}

// An operator watches a rollback from the plan to the record: it happens as planned, and
// the terminal and the status page agree.
func TestTerminalAndStatusPageAgree(t *testing.T) {
	t.Parallel()
	st := open(t)
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	before := look(t, st)
	plan := command(t, st, "plan", demo, "--version", "v3")
	contains(t, "the plan", plan, "Ingress/canary-demo-canary 20 -> 0", "roll back to revision 1 with Helm", "which only revision 2 runs",
		"BACKOUT_COOLDOWN", "each stable pod would get", "Assumptions", "danger", "none found")
	if after := look(t, st); !reflect.DeepEqual(after, before) {
		t.Errorf("a plan changed the cluster: before %+v, after %+v", before, after)
	}
	file := filepath.Join(t.TempDir(), "webhook.json")
	if err := os.WriteFile(file, payload(t, labels(map[string]string{"backout": "shed"})), 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, "the plan of a shed", command(t, st, "plan", "-f", file), "hold it at zero until a revision with different content is deployed")

	plugin := filepath.Join(t.TempDir(), "kubectl-backout")
	if err := os.Symlink(st.BackoutPath(), plugin); err != nil {
		t.Fatal(err)
	}
	usage, err := exec.CommandContext(limited(t), plugin, "explain", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "the usage as a kubectl plugin", string(usage), "kubectl backout explain NAMESPACE/RELEASE")

	b := backout(t, st, 0, nil)
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	lines := make(chan string, 1)
	go func() {
		text, _ := st.Command(watching, "records", stage.Namespace, "-w") // ends when stop cancels it
		lines <- text
	}()
	post(t, b, stage.Token, payload(t, labels(map[string]string{"namespace": "kube-system"})))
	post(t, b, stage.Token, payload(t, labels(nil)))
	r := record(t, b, 2, closed)

	table := command(t, st, "records")
	contains(t, "the table", table, "AGE", demo, "act", string(report.StateOf(&r)), "rolled back to revision 1")
	var stored struct{ Records []rollback.Record }
	if err := json.Unmarshal([]byte(command(t, st, "records", stage.Namespace, "-o", "json")), &stored); err != nil || len(stored.Records) != 1 {
		t.Errorf("-o json prints %d records, %v; want one", len(stored.Records), err)
	}
	explanation := command(t, st, "explain", demo)
	if want := report.Explain(r).String(); explanation != want {
		t.Errorf("explain must show the newest record as the page does; got\n%s\nwant\n%s", explanation, want)
	}
	contains(t, "the explanation", explanation, "half the requests fail", "which only revision 2 runs", "revision 1", "yes: the newest good revision",
		"Ingress/canary-demo-canary 20 -> 0", "Helm made revision 3", "no danger found in a rollback to revision 1")
	contains(t, "the completion", command(t, st, "__complete", "explain", "canary"), demo+"\n")

	overview := page(t, b, "/")
	contains(t, "the page", overview, demo, "rolled back to revision 1", "Ingress/canary-demo-canary", "kube-system/canary-demo", "not opted in")
	own := page(t, b, "/records/"+demo+"/2")
	contains(t, "the record's page", own, report.Explain(r).Headline, "yes: the newest good revision", "canary without traffic")

	stop()
	select {
	case text := <-lines:
		contains(t, "the watch", text, "acting", "rolled back to revision 1")
	case <-time.After(patience):
		t.Error("records -w does not end")
	}
}
