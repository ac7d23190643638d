package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/notify"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
)

// Every channel is notified once, and after a process is killed in the middle of a
// thread, the next one continues the thread.
func TestEveryChannelIsNotifiedOnce(t *testing.T) {
	t.Parallel()
	st := open(t)
	in, err := st.Inbox(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	env, err := in.Answering()
	if err != nil {
		t.Fatal(err)
	}
	env["BACKOUT_VERIFY"], env["BACKOUT_VERIFY_LIMIT"] = "20s", "21s"
	am, err := st.Sandbox.Alertmanager(limited(t), sandbox.AlertmanagerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	env["BACKOUT_ALERTMANAGER_URLS"] = am.Inner()
	first := backout(t, st, 0, env)
	post(t, first, stage.Token, payload(t, labels(nil)))
	// The parent message and a part of its thread are posted, and the record says which
	// channel has sent which entries.
	record(t, first, 2, func(r rollback.Record) bool {
		sent := func(channel, entry string) bool {
			return slices.ContainsFunc(r.Notified[channel].Entries, func(e string) bool { return strings.HasPrefix(e, entry) })
		}
		return sent("slack-bot", "weight-restored/") && sent("webhook", "weight-restored/") && sent("slack-webhook", "rolled-back/") && sent("alertmanager-1", "rolled-back/")
	})
	if err := first.Child.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-first.Child.Done()
	second := backout(t, st, 1, env)
	r := record(t, second, 2, closed)
	last := "not-recovered" // the alert is never resolved
	if string(r.Outcome) != last {
		t.Fatalf("outcome %q, want %s", r.Outcome, last)
	}
	received := await(t, in, func(received stage.Received) bool {
		n := len(received.Messages)
		return len(received.Hooked) >= 2 && len(received.Events) >= 5 && n >= 3 && strings.Contains(received.Messages[n-1].Text, r.Verify.Note)
	})
	thread(t, received, r.Verify.Note)
	for _, m := range received.Hooked {
		t.Logf("Slack, by the incoming webhook:\n%s", m.Text)
	}
	var kinds []string
	for _, e := range received.Events {
		var event notify.Event
		if err := json.Unmarshal([]byte(e.Body), &event); err != nil || e.Signature == "" {
			t.Errorf("an event that is invalid or not signed: %v\n%s", err, e.Body)
		}
		kinds = append(kinds, string(event.Data.Entry.Kind))
	}
	if want := []string{"signal", "shed", "rolled-back", "weight-restored", last}; !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
	alerts(t, am.URL(), map[string]bool{"BackoutRolledBack": true, "BackoutNeedsHelp": true})
	events(t, st, []string{"BackoutNotRecovered", "BackoutRolledBack", "BackoutShed", "BackoutSignal", "BackoutWeightRestored"})
}

// thread checks that the record has one message, which is updated until the end, and
// that its thread contains the details, each once.
func thread(t *testing.T, received stage.Received, end string) {
	t.Helper()
	if len(received.Hooked) != 2 {
		t.Errorf("%d messages by the webhook, want one per outcome; refused: %v", len(received.Hooked), received.Refusals)
	}
	parent := received.Messages[0]
	if !strings.Contains(parent.Text, "it has not recovered") || parent.Edits == 0 || parent.ThreadTS != "" {
		t.Errorf("the record's message does not contain the outcome:\n%s", parent.Text)
	}
	t.Logf("the message:\n%s", parent.Text)
	var rest strings.Builder
	for _, m := range received.Messages[1:] {
		if m.ThreadTS != parent.TS {
			t.Errorf("a detail is outside of the thread: %s", m.Text)
		}
		t.Logf("in the thread:\n%s", m.Text)
		rest.WriteString(m.Text)
	}
	for _, once := range []string{"fires for revision 2", "out of rotation", "rolled back from", "has its weight back", end} {
		if n := strings.Count(rest.String(), once); n != 1 {
			t.Errorf("the thread contains %q %d times, want once:\n%s", once, n, rest.String())
		}
	}
}

func await(t *testing.T, in *stage.Inbox, wanted func(stage.Received) bool) stage.Received {
	t.Helper()
	ctx := limited(t)
	for {
		received, err := in.Received(ctx)
		if err == nil && wanted(received) {
			return received
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the notifications are incomplete: %v, %+v", err, received)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// alerts waits until Alertmanager has exactly these alerts from backout itself.
func alerts(t *testing.T, url string, want map[string]bool) {
	t.Helper()
	ctx := limited(t)
	for {
		have := make(map[string]bool)
		for _, labels := range firing(ctx, t, url) {
			have[labels["alertname"]] = true
			if _, ours := labels["backout"]; ours || labels["namespace"] != stage.Namespace || labels["release"] != stage.Release {
				t.Errorf("wrong labels of an alert from backout itself: %v", labels)
			}
		}
		if fmt.Sprint(have) == fmt.Sprint(want) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("Alertmanager has %v, want %v", have, want)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func firing(ctx context.Context, t *testing.T, url string) []map[string]string {
	t.Helper()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v2/alerts?filter=alertname%3D~%22Backout.*%22", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	var all []struct{ Labels map[string]string }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	labels := make([]map[string]string, len(all))
	for i, a := range all {
		labels[i] = a.Labels
	}
	return labels
}

// events waits until the Events about the canary's Deployment have these reasons.
func events(t *testing.T, st *stage.Stage, want []string) {
	t.Helper()
	ctx := limited(t)
	for {
		list, err := st.Client.CoreV1().Events(stage.Namespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=Deployment,involvedObject.name=canary-demo-canary",
		})
		if err != nil {
			t.Fatal(err)
		}
		var reasons []string
		for _, e := range list.Items {
			if strings.HasPrefix(e.Reason, "Backout") && e.InvolvedObject.UID != "" {
				reasons = append(reasons, e.Reason)
			}
		}
		slices.Sort(reasons)
		if slices.Equal(reasons, want) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("Events about the Deployment: %v, want each of %v once", reasons, want)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// rounds is the number of rollbacks for each kind of channel.
const rounds = 3

// Channels that never answer, or refuse connections, delay neither the shed nor the
// rollback.
func TestChannelsMoveNoTrafficLater(t *testing.T) {
	t.Parallel()
	st := empty(t)
	in, err := st.Inbox(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx := limited(t)
	if err := st.Install(ctx, stage.Release, stage.Canary("v2", "green", 20)...); err != nil {
		t.Fatal(err)
	}
	revision := 1
	best := make(map[string][2]time.Duration)
	for number, kind := range []struct {
		name string
		env  func() (map[string]string, error)
	}{
		{"none", func() (map[string]string, error) { return map[string]string{"BACKOUT_EVENTS": "false"}, nil }},
		{"slow", in.Slow},
		{"dead", in.Dead},
		{"answering", in.Answering},
	} {
		env, err := kind.env()
		if err != nil {
			t.Fatal(err)
		}
		env["BACKOUT_COOLDOWN"] = "1ms"
		b := backout(t, st, number, env)
		var sheds, backs []time.Duration
		for range rounds {
			revision += 2
			shed, back := moved(t, st, b, revision)
			sheds, backs = append(sheds, shed), append(backs, back)
		}
		best[kind.name] = [2]time.Duration{slices.Min(sheds), slices.Min(backs)}
		t.Logf("%-10s weight zero after %v, rolled back after %v", kind.name, sheds, backs)
		if err := b.Child.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-b.Child.Done()
	}
	for name, took := range best {
		for i, step := range []string{"weight zero", "rollback"} {
			if late := took[i] - best["none"][i]; late > time.Second {
				t.Errorf("with %s channels, the %s is %s later", name, step, late)
			}
		}
	}
}

// moved deploys a bad canary, posts an alert about it, and returns the time until the
// API server stored its weight of zero, and the rollback.
func moved(t *testing.T, st *stage.Stage, b *stage.Backout, made int) (shed, back time.Duration) {
	t.Helper()
	ctx := limited(t)
	tag := fmt.Sprint("v", made+10)
	if err := st.Install(ctx, stage.Release, stage.Canary(tag, "yellow", 20)...); err != nil {
		t.Fatal(err)
	}
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	timeline, err := st.Watch(watching)
	if err != nil {
		t.Fatal(err)
	}
	body := payload(t, labels(map[string]string{"version": tag}))
	body = []byte(strings.ReplaceAll(string(body), "0123456789abcdef", fmt.Sprintf("%016d", made)))
	begin := time.Now()
	post(t, b, stage.Token, body)
	zero, err := timeline.Await(ctx, stage.SawWeight, "0")
	if err != nil {
		t.Fatal(err)
	}
	done, err := timeline.Await(ctx, stage.SawRevision, fmt.Sprintf("%d deployed", made))
	if err != nil {
		t.Fatal(err)
	}
	record(t, b, made-1, closed)
	return zero.At.Sub(begin), done.At.Sub(begin)
}
