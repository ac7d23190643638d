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
	"github.com/upcommerce/backout/tests/stage"
)

// holds reports whether the text has all of these, and shows what it has else.
func holds(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s has not %q:\n%s", what, want, text)
		}
	}
}

// page reads one of the status page's.
func page(t *testing.T, b *stage.Backout, path string) string {
	t.Helper()
	code, text, err := b.Get(limited(t), path)
	if err != nil || code != http.StatusOK {
		t.Fatalf("%s is answered %d, %v: %s", path, code, err, text)
	}
	return text
}

// People look at the terminal before, while and after something happens: the plan
// comes true, and terminal and status page tell the same story.
func TestWhatPeopleSee(t *testing.T) {
	t.Parallel()
	st := open(t)
	if err := st.AwaitRollout(limited(t)); err != nil {
		t.Fatal(err)
	}
	before := look(t, st)
	plan := order(t, st, "plan", demo, "--version", "v3")
	holds(t, "the plan", plan, "Ingress/canary-demo-canary 20 -> 0", "have Helm go back to revision 1", "which revision 2 alone runs",
		"BACKOUT_COOLDOWN", "each would get", "Assumed", "danger", "none found")
	if after := look(t, st); !reflect.DeepEqual(after, before) {
		t.Errorf("a plan touches nothing: before %+v, after %+v", before, after)
	}
	file := filepath.Join(t.TempDir(), "webhook.json")
	if err := os.WriteFile(file, payload(t, labels(map[string]string{"backout": "shed"})), 0o600); err != nil {
		t.Fatal(err)
	}
	holds(t, "the plan of a shed", order(t, st, "plan", "-f", file), "hold it there until other content is deployed")

	plugin := filepath.Join(t.TempDir(), "kubectl-backout")
	if err := os.Symlink(st.BackoutPath(), plugin); err != nil {
		t.Fatal(err)
	}
	usage, err := exec.CommandContext(limited(t), plugin, "explain", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	holds(t, "the usage as a plugin of kubectl's", string(usage), "kubectl backout explain NAMESPACE/RELEASE")

	b := backout(t, st, 0, nil)
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	lines := make(chan string, 1)
	go func() {
		text, _ := st.Order(watching, "records", stage.Namespace, "-w") // ends because it is told to
		lines <- text
	}()
	post(t, b, stage.Token, payload(t, labels(map[string]string{"namespace": "kube-system"})))
	post(t, b, stage.Token, payload(t, labels(nil)))
	r := record(t, b, 2, closed)

	table := order(t, st, "records")
	holds(t, "the table", table, "AGE", demo, "act", string(r.State()), "rolled back to revision 1")
	var stored struct{ Records []rollback.Record }
	if err := json.Unmarshal([]byte(order(t, st, "records", stage.Namespace, "-o", "json")), &stored); err != nil || len(stored.Records) != 1 {
		t.Errorf("-o json prints the records: %d, %v", len(stored.Records), err)
	}
	explanation := order(t, st, "explain", demo)
	if want := rollback.Explain(r).String(); explanation != want {
		t.Errorf("explain tells the newest record as the page does; got\n%s\nwant\n%s", explanation, want)
	}
	holds(t, "the explanation", explanation, "half the requests fail", "which revision 2 alone runs", "revision 1", "yes: the newest one",
		"Ingress/canary-demo-canary 20 -> 0", "Helm made revision 3", "nothing dangerous about going back to revision 1")
	holds(t, "the completion", order(t, st, "__complete", "explain", "canary"), demo+"\n")

	overview := page(t, b, "/")
	holds(t, "the page", overview, demo, "rolled back to revision 1", "Ingress/canary-demo-canary", "kube-system/canary-demo", "not opted in")
	own := page(t, b, "/records/"+demo+"/2")
	holds(t, "the record's page", own, rollback.Explain(r).Headline, "yes: the newest one that was good", "canary without traffic")

	stop()
	select {
	case text := <-lines:
		holds(t, "what was watched", text, "acting", "rolled back to revision 1")
	case <-time.After(patience):
		t.Error("records -w does not end")
	}
}
