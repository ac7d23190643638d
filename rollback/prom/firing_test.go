package prom_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/prom"
)

const (
	isFiring  = rollback.AnswerFiring
	isQuiet   = rollback.AnswerQuiet
	isUnknown = rollback.AnswerUnknown
)

func TestFiring(t *testing.T) {
	// The common times: the last evaluation before the receipt, and one since.
	before, since := ago(time.Second), after(time.Second)
	long := ago(30 * time.Second)
	fires := alert{labels: labelled(), from: long, since: long}
	gone := func() *fake { return nil }
	for _, c := range []struct {
		what    string
		servers []*fake // nil is one that is gone
		accuse  func(a *rollback.Accusation)
		want    rollback.Answer
		says    string
	}{
		{what: "a firing alert is confirmed", servers: []*fake{evaluated(before, fires)}, want: isFiring},
		{what: "a quiet alert is not", servers: []*fake{evaluated(since)}, want: isQuiet},
		{
			what:    "of a pair, one still pending and one firing is firing",
			servers: []*fake{evaluated(since, alert{labels: labelled(), pending: true, from: long, since: long}), evaluated(since, fires)}, want: isFiring,
		},
		{
			what:    "a pending alert does not fire",
			servers: []*fake{evaluated(since, alert{labels: labelled(), pending: true, from: long, since: long})}, want: isQuiet,
		},
		{what: "of a pair, one gone and one firing is firing", servers: []*fake{gone(), evaluated(before, fires)}, want: isFiring},
		{
			what: "of a pair, one gone and one quiet is unknown", servers: []*fake{gone(), evaluated(since)},
			want: isUnknown, says: "connection refused",
		},
		{what: "a pair that is quiet is quiet", servers: []*fake{evaluated(since), evaluated(since)}, want: isQuiet},
		{
			what: "a rule that was not evaluated since tells nothing", servers: []*fake{evaluated(since), evaluated(before)},
			want: isUnknown, says: "the rule BadCanary was not evaluated since",
		},
		{
			what: "a rule that was never evaluated tells nothing", servers: []*fake{{rules: []rule{{name: "BadCanary", health: "unknown"}}}},
			want: isUnknown, says: "was not evaluated since",
		},
		{
			what: "a rule that nobody has tells nothing", servers: []*fake{{}, {}},
			want: isUnknown, says: "no server in BACKOUT_PROMETHEUS_URLS has an alert rule named BadCanary",
		},
		{what: "a server without the rule does not hinder another that has it", servers: []*fake{{}, evaluated(since)}, want: isQuiet},
		{what: "a server without the rule that stores the alert knows it", servers: []*fake{{alerts: []alert{fires}}}, want: isFiring},
		{
			what: "a rule that fails tells nothing, not even what it found before",
			servers: []*fake{{
				rules:  []rule{{name: "BadCanary", health: "err", lastError: "many-to-many\nmatching", evaluated: since}},
				alerts: []alert{{labels: labelled(), from: long, since: long, unstored: true}},
			}},
			want: isUnknown, says: "the rule BadCanary fails: many-to-many matching",
		},
		{
			what: "of two rules of one name, the one evaluated longest ago counts",
			servers: []*fake{{rules: []rule{
				{name: "BadCanary", health: "ok", evaluated: since},
				{name: "BadCanary", health: "ok", evaluated: before},
			}}},
			want: isUnknown, says: "was not evaluated since",
		},
		{
			what: "another rule's evaluation does not count, though a server returns it",
			servers: []*fake{{unfiltered: true, rules: []rule{
				{name: "BadCanary", health: "ok", evaluated: since},
				{name: "Slow", health: "ok", evaluated: before},
			}}},
			want: isQuiet,
		},
		{
			what:    "an alert of a server that has just started is in its memory only",
			servers: []*fake{evaluated(since, alert{labels: labelled(), from: before, since: before, unstored: true})}, want: isFiring,
		},
		{
			what:    "an alert that is stored while the server is asked is found",
			servers: []*fake{evaluated(since, alert{labels: labelled(), from: before, since: before, late: true})}, want: isFiring,
		},
		{
			what:    "an alert that a shed has quieted did fire",
			servers: []*fake{evaluated(since, alert{labels: labelled(), from: long, since: long, to: after(time.Second)})}, want: isFiring,
		},
		{
			what:    "an alert that began to fire after another server's was received did fire",
			servers: []*fake{evaluated(since, alert{labels: labelled(), from: after(time.Second), since: long, to: after(2 * time.Second)})}, want: isFiring,
		},
		{
			what:    "an alert that was over a minute before does not count",
			servers: []*fake{evaluated(since, alert{labels: labelled(), from: ago(2 * time.Minute), since: long, to: ago(time.Minute)})}, want: isQuiet,
		},
		{what: "another version's alert is another alert", servers: []*fake{evaluated(since, otherwise(fires, "version", "v2"))}, want: isQuiet},
		{what: "another release's alert is another alert", servers: []*fake{evaluated(since, otherwise(fires, "release", "shop-2"))}, want: isQuiet},
		{what: "another namespace's alert is another alert", servers: []*fake{evaluated(since, otherwise(fires, "namespace", "web-2"))}, want: isQuiet},
		{what: "another alert of the release is another alert", servers: []*fake{evaluated(since, otherwise(fires, "alertname", "Slow"))}, want: isQuiet},
		{
			what: "an alert without a version is confirmed by any", servers: []*fake{evaluated(since, otherwise(fires, "version", "v2"))},
			accuse: func(a *rollback.Accusation) { a.Version = "" }, want: isFiring,
		},
		{
			what:    "a version that was shortened is not compared",
			servers: []*fake{evaluated(since, otherwise(fires, "version", strings.Repeat("v", 200)))},
			accuse:  func(a *rollback.Accusation) { a.Version = strings.Repeat("v", 127) + "…" }, want: isFiring,
		},
		{
			what:    "an alert that fires without the release's label could be anybody's",
			servers: []*fake{evaluated(since, otherwise(fires, "release", ""))},
			want:    isUnknown, says: "fires there without the label release",
		},
		{
			what: "quotes and backslashes in labels end no string", servers: []*fake{evaluated(since, otherwise(fires, "version", `v3"}\ or vector(1)`))},
			accuse: func(a *rollback.Accusation) { a.Version = `v3"}\or` }, want: isQuiet,
		},
		{
			what: "quotes and backslashes in labels are found", servers: []*fake{evaluated(since, otherwise(fires, "version", `v3"\.*`))},
			accuse: func(a *rollback.Accusation) { a.Version = `v3"\.*` }, want: isFiring,
		},
		{
			what: "quotes and backslashes in the alert's name are found", servers: []*fake{evaluated(since, otherwise(fires, "alertname", `Bad"Canary\`))},
			accuse: func(a *rollback.Accusation) { a.Alert = `Bad"Canary\` }, want: isFiring,
		},
		{
			what: "a label's value is no regular expression", servers: []*fake{evaluated(since, otherwise(fires, "version", "v3"))},
			accuse: func(a *rollback.Accusation) { a.Version = "v.*" }, want: isQuiet,
		},
		{what: "a server error tells nothing", servers: []*fake{refuse(503, "away")}, want: isUnknown, says: "server error: 503"},
		{what: "a page tells nothing", servers: []*fake{refuse(200, "<html>")}, want: isUnknown, says: "invalid character '<'"},
		{
			what: "a redirect is not followed", servers: []*fake{refuse(302, "")},
			want: isUnknown, says: "it answers 302 Found: redirects are not followed; name where",
		},
		{what: "no access", servers: []*fake{refuse(401, "")}, want: isUnknown, says: "check BACKOUT_PROMETHEUS_TOKEN_FILE"},
		{what: "no API", servers: []*fake{refuse(404, "")}, want: isUnknown, says: "check the path prefix"},
		{what: "an answer without end is cut off", servers: []*fake{endless()}, want: isUnknown, says: "its answer is larger than 4 MiB"},
		{
			what: "an answer that is no Prometheus'", servers: []*fake{refuse(200, `{"status":"success","data":{"resultType":"vector","result":[]}}`)},
			want: isUnknown, says: "does not tell its time",
		},
		{what: "a partial answer tells nothing", servers: []*fake{warning(evaluated(since))}, want: isUnknown, says: "it warns: a store is away"},
	} {
		t.Run(c.what, func(t *testing.T) {
			a := accusing
			if c.accuse != nil {
				c.accuse(&a)
			}
			got := newClient(t, prom.Config{URLs: start(t, c.servers...)}).Firing(t.Context(), shop, a, receipt)
			if got.Answer != c.want || !strings.Contains(got.Error, c.says) || (c.want == isUnknown) != (got.Error != "") {
				t.Errorf("%s: want %s %q, got %+v", c.what, c.want, c.says, got)
			}
			if strings.ContainsAny(got.Error, "\n") {
				t.Errorf("a reason is one line: %q", got.Error)
			}
		})
	}
}

// TestClocks asks servers whose clock is wrong by a minute: the answer is the same
// as if it were right, and so is active-since.
func TestClocks(t *testing.T) {
	long := ago(30 * time.Second).Truncate(time.Second)
	for _, c := range []struct {
		what   string
		server *fake
		want   rollback.Answer
	}{
		{"firing for half a minute", evaluated(ago(time.Second), alert{labels: labelled(), from: long, since: long}), isFiring},
		{"firing in memory only", evaluated(ago(time.Second), alert{labels: labelled(), from: long, since: long, unstored: true}), isFiring},
		{"fired for a moment at the receipt", evaluated(after(time.Second), alert{labels: labelled(), from: ago(time.Second), since: long, to: receipt}), isFiring},
		{"quiet", evaluated(after(time.Second)), isQuiet},
		{"not evaluated since", evaluated(ago(time.Second)), isUnknown},
	} {
		for _, ahead := range []time.Duration{0, time.Minute, -time.Minute} {
			f := *c.server
			f.ahead = ahead
			got := newClient(t, prom.Config{URLs: start(t, &f)}).Firing(t.Context(), shop, accusing, receipt)
			if got.Answer != c.want {
				t.Errorf("%s, by a clock that is ahead by %s: want %s, got %+v", c.what, ahead, c.want, got)
			}
			if c.want == isFiring && !got.ActiveSince.Equal(long) {
				t.Errorf("%s, by a clock that is ahead by %s: active-since is by this machine's clock: want %s, got %s", c.what, ahead, long, got.ActiveSince)
			}
		}
	}
}

func TestActiveSince(t *testing.T) {
	first, second := ago(time.Hour).Truncate(time.Second), ago(time.Minute).Truncate(time.Second)
	f := evaluated(ago(time.Second),
		alert{labels: labelled("pod", "a"), from: second, since: second},
		alert{labels: labelled("pod", "b"), from: second, since: first},
		// Neither a pending one nor another version's is what fired.
		alert{labels: labelled("pod", "c"), from: second, since: first.Add(-time.Hour), pending: true},
		alert{labels: labelled("version", "v2"), from: second, since: first.Add(-time.Hour)},
	)
	got := newClient(t, prom.Config{URLs: start(t, f)}).Firing(t.Context(), shop, accusing, receipt)
	if !got.ActiveSince.Equal(first) {
		t.Errorf("active-since is that of the alert's earliest firing series: want %s, got %+v", first, got)
	}
}

// TestActiveSinceOfAPair has two servers, one of which was started anew and counts
// from then on. One of them answers once the other has.
func TestActiveSinceOfAPair(t *testing.T) {
	steady, anew := ago(time.Hour).Truncate(time.Second), ago(time.Minute).Truncate(time.Second)
	for _, sinces := range [][]time.Time{{steady, anew}, {anew, steady}} {
		fast, slow := evaluated(ago(time.Second), alert{labels: labelled(), from: sinces[0], since: sinces[0]}),
			evaluated(ago(time.Second), alert{labels: labelled(), from: sinces[1], since: sinces[1]})
		answered := make(chan struct{})
		first := &fake{instead: func(w http.ResponseWriter, r *http.Request) {
			fast.query(w, r)
			close(answered)
		}}
		second := &fake{instead: func(w http.ResponseWriter, r *http.Request) {
			<-answered
			slow.query(w, r)
		}}
		got := newClient(t, prom.Config{URLs: start(t, first, second)}).Firing(t.Context(), shop, accusing, receipt)
		if got.Answer != isFiring || !got.ActiveSince.Equal(steady) {
			t.Errorf("of a pair, the earlier active-since counts, whoever answers first: want %s, got %+v", steady, got)
		}
	}
}

// TestFiringAtOnce has one server that never answers: who waits for it hangs.
func TestFiringAtOnce(t *testing.T) {
	fires := alert{labels: labelled(), from: ago(time.Minute), since: ago(time.Minute)}
	client := newClient(t, prom.Config{URLs: start(t, silent(), evaluated(ago(time.Second), fires))})
	if got := client.Firing(t.Context(), shop, accusing, receipt); got.Answer != isFiring {
		t.Errorf("one server that says firing is enough: got %+v", got)
	}
}

func TestFiringEndsWithTheContext(t *testing.T) {
	client := newClient(t, prom.Config{URLs: start(t, silent(), evaluated(after(time.Second)))})
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	got := client.Firing(ctx, shop, accusing, receipt)
	if got.Answer != isUnknown || strings.Count(got.Error, "no answer in time") != 1 {
		t.Errorf("a server that does not answer in time makes it unknown, and is named: got %+v", got)
	}
}

// TestFiringEndsWithTheContextWhateverHangs has the token on a volume that hangs.
func TestFiringEndsWithTheContextWhateverHangs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "plum")
	client := newClient(t, prom.Config{URLs: start(t, evaluated(after(time.Second))), TokenFile: file})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Whoever still waits for somebody to write into it is let go.
		if writer, err := os.OpenFile(file, os.O_RDWR, 0); err == nil {
			_ = writer.Close()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := client.Firing(ctx, shop, accusing, receipt); got.Answer != isUnknown || !strings.Contains(got.Error, "no answer in time") {
		t.Errorf("what hangs is no answer: got %+v", got)
	}
}

func TestNoSecretIsTold(t *testing.T) {
	address := strings.Replace(dead(t), "http://", "http://reader:sesame@", 1) + "/prefix"
	got := newClient(t, prom.Config{URLs: []string{address}}).Firing(t.Context(), shop, accusing, receipt)
	_, err := newClient(t, prom.Config{URLs: []string{address}}).CanaryTraffic(t.Context(), shop, receipt)
	for _, text := range []string{got.Error, err.Error()} {
		if strings.Contains(text, "sesame") || strings.Contains(text, "reader") || !strings.Contains(text, "127.0.0.1") {
			t.Errorf("a reason names the server, and nothing of its password: %s", text)
		}
	}
}

// TestToken has the server read what it was presented.
func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "plum\n")
	var presented string
	f := &fake{instead: func(w http.ResponseWriter, r *http.Request) {
		presented = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
	}}
	client := newClient(t, prom.Config{URLs: start(t, f), TokenFile: file})
	for _, token := range []string{"plum", "pear"} {
		write(t, file, token+"\n")
		client.Firing(t.Context(), shop, accusing, receipt)
		if presented != "Bearer "+token {
			t.Errorf("the token in the file is presented as it is by now: want %s, got %s", token, presented)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
