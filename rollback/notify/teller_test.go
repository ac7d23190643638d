package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/notify/slacktest"
)

// book is a ledger in memory. Its one fact worth knowing: whoever writes without
// having read the newest version gets ErrConflict.
type book struct {
	mu       sync.Mutex
	records  []rollback.Record
	version  int
	conflict int
	saves    int
	// refuses is what every write is answered with.
	refuses error
	// changed is called with what was saved, as Follow does.
	changed func(rollback.Record)
}

func (b *book) Records(ctx context.Context, k rollback.Key) ([]rollback.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var of []rollback.Record
	for _, r := range b.records {
		if r.Key == k {
			of = append(of, again(r))
		}
	}
	return of, ctx.Err()
}

// again is the record as it is read from where it is stored: it shares nothing.
func again(r rollback.Record) rollback.Record {
	text, err := json.Marshal(r)
	var read rollback.Record
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		panic(err)
	}
	read.Version = r.Version
	return read
}

func (b *book) Save(ctx context.Context, r rollback.Record) (rollback.Record, error) {
	if err := ctx.Err(); err != nil {
		return r, err
	}
	b.mu.Lock()
	if b.refuses != nil {
		defer b.mu.Unlock()
		return r, b.refuses
	}
	if b.conflict > 0 {
		b.conflict--
		b.mu.Unlock()
		return r, rollback.ErrConflict
	}
	i := slices.IndexFunc(b.records, func(o rollback.Record) bool { return o.Key == r.Key && o.Revision == r.Revision })
	if i >= 0 && b.records[i].Version != r.Version {
		b.mu.Unlock()
		return r, rollback.ErrConflict
	}
	b.version++
	b.saves++
	r.Version = strconv.Itoa(b.version)
	if i < 0 {
		b.records = append(b.records, again(r))
	} else {
		b.records[i] = again(r)
	}
	changed := b.changed
	b.mu.Unlock()
	if changed != nil {
		changed(again(r))
	}
	return r, nil
}

// put stores r as the engine does, whatever was told meanwhile.
func (b *book) put(t *testing.T, r rollback.Record) {
	t.Helper()
	b.mu.Lock()
	for _, o := range b.records {
		if o.Key == r.Key && o.Revision == r.Revision {
			r.Version, r.Told = o.Version, o.Told
		}
	}
	conflict := b.conflict
	b.conflict = 0
	b.mu.Unlock()
	if _, err := b.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	b.conflict = conflict
	b.mu.Unlock()
}

func (b *book) record(k rollback.Key) rollback.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		if r.Key == k {
			return r
		}
	}
	return rollback.Record{}
}

// world is a network in memory: hosts with handlers. A host without one never
// answers; dead hosts refuse.
type world struct {
	hosts map[string]http.Handler
	dead  map[string]bool
}

func (w *world) RoundTrip(q *http.Request) (*http.Response, error) {
	host := q.URL.Hostname()
	if w.dead[host] {
		return nil, errors.New("connection refused")
	}
	h, ok := w.hosts[host]
	if !ok {
		<-q.Context().Done()
		return nil, q.Context().Err()
	}
	answer := httptest.NewRecorder()
	if q.Body == nil {
		q.Body = http.NoBody
	}
	h.ServeHTTP(answer, q)
	return answer.Result(), nil
}

const (
	botToken = "xoxb-very-secret"
	hookPath = "/services/T000/B000/very-secret"
	hookURL  = "https://hooks.example" + hookPath
)

func fakeSlack() *slacktest.Server {
	return &slacktest.Server{Token: botToken, Channels: []string{"C1"}, HookPath: hookPath}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// desk is a Teller with what it works with.
type desk struct {
	*Teller
	book     *book
	registry *prometheus.Registry
	log      *bytes.Buffer
}

func newDesk(t *testing.T, c Config, w *world, b *book, change ...func(*Options)) *desk {
	t.Helper()
	d := &desk{book: b, registry: prometheus.NewRegistry(), log: new(bytes.Buffer)}
	c.SlackAPIURL = "https://slack.example/api"
	o := Options{
		Config: c, Cluster: "blue", StormWindow: 10 * time.Minute, Ledger: b, Registerer: d.registry, Transport: w,
		Log: slog.New(slog.NewTextHandler(&locked{Buffer: d.log}, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	teller, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	d.Teller = teller
	b.mu.Lock()
	b.changed = teller.Report
	b.mu.Unlock()
	return d
}

type locked struct {
	mu sync.Mutex
	*bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

// run has it work until stop, or until the test ends.
func (d *desk) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return stop
}

func (d *desk) count(t *testing.T, channel, result string) float64 {
	t.Helper()
	return testutil.ToFloat64(d.metrics.notifications.WithLabelValues(channel, result))
}

func webhookOnly(t *testing.T) Config { return Config{SlackWebhookFile: file(t, hookURL)} }

func TestOneMessagePerOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		d := newDesk(t, webhookOnly(t), &world{hosts: map[string]http.Handler{"hooks.example": slack}}, &book{})
		d.run(t)
		begin := time.Now()
		at := func(change ...func(*rollback.Record)) rollback.Record {
			return shifted(begin, accused(acting(), change...))
		}
		d.book.put(t, at())
		d.book.put(t, at(shed))
		d.book.put(t, at(rolledBack))
		time.Sleep(5 * time.Second)
		d.book.put(t, at(raised))
		for range 20 { // the alert is repeated
			time.Sleep(30 * time.Second)
			r := at(raised)
			r.Accusations[0].LastSeen = time.Now()
			d.book.put(t, r)
		}
		d.book.put(t, at(judgedAs(rollback.Recovered, "quiet")))
		time.Sleep(2 * time.Hour)
		var titles []string
		for _, m := range slack.Hooked() {
			title, _, _ := strings.Cut(m.Text, "\n")
			titles = append(titles, title)
		}
		want := []string{"[open] shop/web rolled back from revision 7 to 5", "[over] shop/web rolled back from revision 7 to 5: recovered"}
		if !slices.Equal(titles, want) {
			t.Errorf("one message per outcome, none for a repeat:\n%s\nwant\n%s", strings.Join(titles, "\n"), strings.Join(want, "\n"))
		}
		if len(slack.Refusals()) > 0 {
			t.Errorf("Slack refuses: %v", slack.Refusals())
		}
		if n := d.count(t, "slack-webhook", resultSent); n != 2 {
			t.Errorf("%g deliveries are counted as sent, want 2", n)
		}
		if r := d.book.record(rollback.Key{Namespace: "shop", Release: "web"}); len(r.Told["slack-webhook"].Lines) != 2 {
			t.Errorf("the record has what was told: %+v", r.Told)
		}
	})
}

// shifted moves a record to begin then.
func shifted(begin time.Time, r rollback.Record) rollback.Record {
	by := begin.Sub(noon())
	move := func(at *time.Time) {
		if !at.IsZero() {
			*at = at.Add(by)
		}
	}
	move(&r.Opened)
	move(&r.Closed)
	for i := range r.Accusations {
		move(&r.Accusations[i].StartsAt)
		move(&r.Accusations[i].Received)
	}
	for i := range r.Decisions {
		move(&r.Decisions[i].At)
	}
	for _, s := range []*rollback.Step{r.Shed, r.Rollback, r.Raise, r.Verify} {
		if s != nil {
			move(&s.Started)
			move(&s.Done)
		}
	}
	if r.Hold != nil {
		move(&r.Hold.Since)
		move(&r.Hold.Ended)
	}
	return r
}

func TestAThreadPerRecordOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		w := &world{hosts: map[string]http.Handler{"slack.example": slack}}
		c := Config{SlackTokenFile: file(t, botToken), SlackChannel: "C1"}
		b := &book{}
		first := newDesk(t, c, w, b)
		stop := first.run(t)
		begin := time.Now()
		at := func(change ...func(*rollback.Record)) rollback.Record {
			return shifted(begin, accused(acting(), change...))
		}
		b.put(t, at(rolledBack))
		time.Sleep(10 * time.Second)
		stop() // and another process, in the middle of the thread

		second := newDesk(t, c, w, b)
		second.Report(b.record(rollback.Key{Namespace: "shop", Release: "web"}))
		second.run(t)
		time.Sleep(10 * time.Second)
		b.put(t, at(judgedAs(rollback.Recovered, "the alert is quiet")))
		time.Sleep(10 * time.Second)

		all := slack.Messages()
		if len(all) != 3 {
			t.Fatalf("one message and two in its thread, got %d: %+v", len(all), all)
		}
		if _, err := json.Marshal(all); err != nil {
			t.Errorf("the fake's messages cannot be shown: %v", err)
		}
		parent := all[0]
		if !strings.Contains(parent.Text, ": recovered") || parent.Edits != 2 {
			t.Errorf("the record's message tells how it stands, changed with each detail: %d edits\n%s", parent.Edits, parent.Text)
		}
		for _, m := range all[1:] {
			if m.ThreadTS != parent.TS {
				t.Errorf("a detail stands outside of the thread: %+v", m)
			}
		}
		if !strings.Contains(all[1].Text, "out of the traffic") || !strings.Contains(all[2].Text, "the alert is quiet") || strings.Contains(all[2].Text, "out of the traffic") {
			t.Errorf("the thread tells everything once:\n%s\n--\n%s", all[1].Text, all[2].Text)
		}
		if len(slack.Refusals()) > 0 {
			t.Errorf("Slack refuses: %v", slack.Refusals())
		}
	})
}

func TestAMessageThatIsGoneIsPostedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		d := newDesk(t, Config{SlackTokenFile: file(t, botToken), SlackChannel: "C1"}, &world{hosts: map[string]http.Handler{"slack.example": slack}}, &book{})
		d.run(t)
		begin := time.Now()
		d.book.put(t, shifted(begin, accused(acting(), rolledBack)))
		time.Sleep(10 * time.Second)
		slack.Delete(slack.Messages()[0].TS)
		d.book.put(t, shifted(begin, accused(acting(), judgedAs(rollback.Recovered, "quiet"))))
		time.Sleep(10 * time.Second)
		all := slack.Messages()
		if len(all) != 3 || !strings.Contains(all[1].Text, ": recovered") || all[2].ThreadTS != all[1].TS {
			t.Errorf("a new message and its thread, got %+v", all)
		}
		if !slices.Contains(slack.Refusals(), "message_not_found") {
			t.Errorf("the fake knows no message that was deleted: %v", slack.Refusals())
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, c := range map[string]func(*testing.T) Config{
		"slack-webhook": webhookOnly,
		"slack-bot":     func(t *testing.T) Config { return Config{SlackTokenFile: file(t, botToken), SlackChannel: "C1"} },
	} {
		synctest.Test(t, func(t *testing.T) {
			slack := fakeSlack()
			slack.Limit(90 * time.Second)
			d := newDesk(t, c(t), &world{hosts: map[string]http.Handler{"hooks.example": slack, "slack.example": slack}}, &book{})
			d.run(t)
			d.book.put(t, shifted(time.Now(), accused(acting(), rolledBack)))
			time.Sleep(80 * time.Second)
			if n := len(slack.Refusals()); n != 1 {
				t.Errorf("%s: asked to wait 90 s, it was tried %d times", name, n)
			}
			time.Sleep(30 * time.Second)
			if len(slack.Hooked())+len(slack.Messages()) == 0 {
				t.Errorf("%s: after the wait it is told", name)
			}
			if d.count(t, name, resultError) != 1 || d.count(t, name, resultSent) < 1 {
				t.Errorf("%s: one error is counted, and what was sent", name)
			}
		})
	}
}

// TestSlownessIsNobodyElses: safety rule 8, between channels.
func TestSlownessIsNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		c := webhookOnly(t)
		c.WebhookURL, c.AlertmanagerURLs = "https://slow.example", []string{"https://dead.example"}
		d := newDesk(t, c, &world{hosts: map[string]http.Handler{"hooks.example": slack}, dead: map[string]bool{"dead.example": true}}, &book{})
		stop := d.run(t)
		begin := time.Now()
		for i := range 5 {
			r := shifted(begin, accused(acting(), rolledBack))
			r.Release = fmt.Sprint("web", i)
			d.book.put(t, r)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("handing over took %s", took)
		}
		time.Sleep(8 * time.Second)
		if n := len(slack.Hooked()); n != 5 {
			t.Errorf("%d of 5 were told while another channel does not answer", n)
		}
		time.Sleep(2 * time.Minute)
		if sent, failed := d.count(t, "webhook", resultSent), d.count(t, "webhook", resultError); sent != 0 || failed < 5 {
			t.Errorf("a webhook that never answers: %g sent, %g errors", sent, failed)
		}
		if failed := d.count(t, "alertmanager-1", resultError); failed < 5 {
			t.Errorf("an Alertmanager that is dead: %g errors", failed)
		}
		if n := testutil.ToFloat64(d.metrics.queued.WithLabelValues("webhook")); n != 5 {
			t.Errorf("%g are shown as queued, want 5", n)
		}
		begin = time.Now()
		stop()
		if took := time.Since(begin); took > 100*time.Millisecond {
			t.Errorf("a channel that does not answer kept the process from ending for %s", took)
		}
	})
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	var times []time.Time
	synctest.Test(t, func(t *testing.T) {
		c := Config{WebhookURL: "https://broken.example"}
		broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			times = append(times, time.Now())
			http.Error(w, "oops", http.StatusInternalServerError)
		})
		d := newDesk(t, c, &world{hosts: map[string]http.Handler{"broken.example": broken}}, &book{})
		d.run(t)
		d.book.put(t, shifted(time.Now(), accused(acting(), judgedAs(rollback.Recovered, "quiet"))))
		time.Sleep(3 * time.Hour)
		if len(times) < 15 || len(times) > 25 {
			t.Errorf("%d tries in an hour; want them to become rare", len(times))
		}
		for i := 1; i < len(times); i++ {
			if gap := times[i].Sub(times[i-1]); gap > lastRetry+2*lookInterval {
				t.Errorf("the gap between two tries grew to %s", gap)
			}
		}
		if n := d.count(t, "webhook", resultDropped); n != 1 {
			t.Errorf("%g are counted as dropped; what could not be told for an hour after the end is given up", n)
		}
		if len(d.known) != 0 {
			t.Errorf("%d records are kept for ever", len(d.known))
		}
	})
}

func TestOnlyTheLeaderTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		w := &world{hosts: map[string]http.Handler{"hooks.example": slack}}
		b := &book{}
		leader := make([]bool, 2)
		var mu sync.Mutex
		var desks []*desk
		for i := range 2 {
			desks = append(desks, newDesk(t, webhookOnly(t), w, b, func(o *Options) {
				o.Leads = func() error {
					mu.Lock()
					defer mu.Unlock()
					if leader[i] {
						return nil
					}
					return errors.New("another replica leads")
				}
			}))
			desks[i].run(t)
		}
		b.mu.Lock()
		b.changed = func(r rollback.Record) { desks[0].Report(r); desks[1].Report(r) }
		b.mu.Unlock()
		lead := func(a, b bool) { mu.Lock(); leader[0], leader[1] = a, b; mu.Unlock() }
		begin := time.Now()
		b.put(t, shifted(begin, accused(acting(), rolledBack)))
		time.Sleep(time.Minute)
		if len(slack.Hooked()) != 0 {
			t.Error("nobody leads, and somebody tells")
		}
		lead(true, false)
		time.Sleep(time.Minute)
		lead(false, true)
		time.Sleep(time.Minute)
		if n := len(slack.Hooked()); n != 1 {
			t.Errorf("told %d times by two replicas that led one after the other, want once", n)
		}
		lead(false, false)
		b.put(t, shifted(begin, accused(acting(), judgedAs(rollback.Recovered, "quiet"))))
		time.Sleep(time.Minute)
		lead(false, true)
		time.Sleep(time.Minute)
		if n := len(slack.Hooked()); n != 2 {
			t.Errorf("told %d times; want the outcome told by whoever leads next", n)
		}
	})
}

func TestAStormIsOneSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		c := webhookOnly(t)
		c.SlackTokenFile, c.SlackChannel = file(t, botToken), "C1"
		c.AlertmanagerURLs = []string{"https://am.example"}
		am := &fakeAlertmanager{}
		w := &world{hosts: map[string]http.Handler{"hooks.example": slack, "slack.example": slack, "am.example": am}}
		b := &book{}
		d := newDesk(t, c, w, b)
		stop := d.run(t)
		begin := time.Now()
		for i := range 30 {
			r := shifted(begin, cases()["storm"])
			r.Release = fmt.Sprintf("web%02d", i)
			b.put(t, r)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		late := shifted(time.Now(), cases()["storm"])
		late.Release = "late"
		b.put(t, late)
		time.Sleep(time.Minute)
		stop()
		next := newDesk(t, c, w, b) // the next leader knows what was told
		for _, r := range b.records {
			next.Report(r)
		}
		next.run(t)
		time.Sleep(3 * time.Minute)
		if n := len(slack.Hooked()); n != 1 {
			t.Errorf("%d messages about one storm of 31 releases, want 1", n)
		}
		if n := len(slack.Messages()); n != 1 {
			t.Errorf("%d messages of the bot about one storm, want 1", n)
		}
		if text := slack.Hooked()[0].Text; !strings.Contains(text, "shop/web00") || !strings.Contains(text, "and 10 more") {
			t.Errorf("the summary names the releases:\n%s", text)
		}
		if n := am.posts(); n != 1 {
			t.Errorf("%d posts to Alertmanager, want 1", n)
		}
	})
}

func TestWhatWasToldIsNotedInSpiteOfConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		b := &book{conflict: 3}
		d := newDesk(t, webhookOnly(t), &world{hosts: map[string]http.Handler{"hooks.example": slack}}, b)
		d.run(t)
		b.put(t, shifted(time.Now(), accused(acting(), rolledBack)))
		time.Sleep(time.Minute)
		if r := b.record(rollback.Key{Namespace: "shop", Release: "web"}); len(r.Told) != 1 || !r.Rollback.Succeeded() {
			t.Errorf("what was told is noted beside what the engine wrote: %+v", r)
		}
		if b.saves != 2 {
			t.Errorf("%d writes; want the engine's and one more", b.saves)
		}
	})
}

func TestOldNewsIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		d := newDesk(t, webhookOnly(t), &world{hosts: map[string]http.Handler{"hooks.example": slack}}, &book{})
		d.run(t)
		begin := time.Now()
		time.Sleep(24 * time.Hour)
		// Slack is configured today; this was over yesterday, that lasts.
		old := shifted(begin, accused(acting(), judgedAs(rollback.Recovered, "quiet")))
		held := shifted(begin, accused(holds(rollback.Baked, "it is old"), onHold))
		held.Release = "held"
		d.book.put(t, old)
		d.book.put(t, held)
		time.Sleep(time.Minute)
		if all := slack.Hooked(); len(all) != 1 || !strings.Contains(all[0].Text, "shop/held") {
			t.Errorf("want what lasts to be told, and not what was over a day ago: %+v", all)
		}
		if n := d.count(t, "slack-webhook", resultDropped); n != 0 {
			t.Errorf("%g dropped; old news was never to be told", n)
		}
	})
}

func TestTheMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, Config{WebhookURL: "https://slow.example"}, &world{}, &book{})
		for i := range maxKnown + 10 {
			r := shifted(time.Now(), accused(acting(), rolledBack))
			r.Release = fmt.Sprint("web", i)
			d.Report(r)
		}
		if len(d.known) != maxKnown || d.count(t, "webhook", resultDropped) != 10 {
			t.Errorf("%d kept, %g dropped; want %d and 10", len(d.known), d.count(t, "webhook", resultDropped), maxKnown)
		}
	})
}

func TestSecretsAreToldToNobody(t *testing.T) {
	answers := map[string]http.Handler{
		"refused": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Error(w, "no such hook: "+q.URL.String(), http.StatusNotFound)
		}),
		"broken": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Error(w, "cannot serve "+q.URL.Path, http.StatusBadGateway)
		}),
		"redirected": http.RedirectHandler("https://elsewhere.example/very-secret", http.StatusFound),
		"auth":       &slacktest.Server{Token: "another", HookPath: "/other"},
		"slow":       nil,
		"dead":       nil,
	}
	for name, answer := range answers {
		synctest.Test(t, func(t *testing.T) {
			w := &world{hosts: map[string]http.Handler{}, dead: map[string]bool{}}
			for _, host := range []string{"hooks.example", "slack.example", "generic.example", "am.example"} {
				if answer != nil {
					w.hosts[host] = answer
				}
				w.dead[host] = name == "dead"
			}
			d := newDesk(t, Config{
				SlackWebhookFile: file(t, hookURL), SlackTokenFile: file(t, botToken), SlackChannel: "C1",
				WebhookURL: "https://user:very-secret@generic.example/very-secret", WebhookSecretFile: file(t, "very-secret"),
				AlertmanagerURLs: []string{"https://user:very-secret@am.example"},
			}, w, &book{})
			d.run(t)
			d.book.put(t, shifted(time.Now(), accused(acting(), rolledBack)))
			time.Sleep(time.Minute)
			synctest.Wait()
			if d.log.Len() == 0 {
				t.Errorf("%s: what goes wrong is logged", name)
			}
			if strings.Contains(d.log.String(), "very-secret") {
				t.Errorf("%s: a secret stands in the log:\n%s", name, d.log)
			}
		})
	}
}

func TestASecretThatChangesCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		path := file(t, "xoxb-old")
		d := newDesk(t, Config{SlackTokenFile: path, SlackChannel: "C1"}, &world{hosts: map[string]http.Handler{"slack.example": slack}}, &book{})
		d.run(t)
		d.book.put(t, shifted(time.Now(), accused(acting(), rolledBack)))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := slack.Refusals(); len(got) != 1 || got[0] != "invalid_auth" || !strings.Contains(d.log.String(), "BACKOUT_SLACK_TOKEN_FILE") {
			t.Errorf("one try with a wrong token, and a hint: %v\n%s", got, d.log)
		}
		if err := os.WriteFile(path, []byte(botToken), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(slack.Messages()) == 0 {
			t.Error("the new token is used without a restart")
		}
	})
}

func TestANoteThatCannotBeWrittenIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slack := fakeSlack()
		b := &book{}
		d := newDesk(t, webhookOnly(t), &world{hosts: map[string]http.Handler{"hooks.example": slack}}, b)
		b.put(t, shifted(time.Now(), accused(acting(), rolledBack)))
		b.mu.Lock()
		b.refuses = errors.New("configmaps is forbidden")
		b.mu.Unlock()
		d.run(t)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := strings.Count(d.log.String(), "is not noted"); n < 5 || n > 70 {
			t.Errorf("%d lines in ten minutes about a note that cannot be written", n)
		}
		if n := len(slack.Hooked()); n != 1 {
			t.Errorf("told %d times by a process that cannot note it, want once", n)
		}
		b.mu.Lock()
		b.refuses = nil
		b.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if r := b.record(rollback.Key{Namespace: "shop", Release: "web"}); len(r.Told) != 1 {
			t.Errorf("noted once it can be: %+v", r.Told)
		}
	})
}
