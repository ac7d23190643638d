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
	isFiring   = rollback.AnswerFiring
	isQuiet    = rollback.AnswerQuiet
	isUnproven = rollback.AnswerUnproven
	isUnknown  = rollback.AnswerUnknown
)

func TestFiring(t *testing.T) {
	// The common times: the last evaluation before the receipt, and one since.
	before, since := ago(time.Second), after(time.Second)
	long := ago(30 * time.Second)
	fires := alert{labels: labels(), from: long, since: long}
	closed := func() *fake { return nil }
	// other evaluates another of backout's rules.
	other := func() *fake {
		return &fake{rules: []rule{{name: "Slow", health: "ok", evaluated: since, level: "shed"}}}
	}
	for _, c := range []struct {
		what    string
		servers []*fake // nil no longer listens
		change  func(a *rollback.Signal)
		want    rollback.Answer
		says    string
	}{
		{what: "a firing alert is confirmed", servers: []*fake{evaluated(before, fires)}, want: isFiring},
		{what: "a quiet alert is not", servers: []*fake{evaluated(since)}, want: isQuiet},
		{
			what:    "of a pair, one still pending and one firing is firing",
			servers: []*fake{evaluated(since, alert{labels: labels(), pending: true, from: long, since: long}), evaluated(since, fires)}, want: isFiring,
		},
		{
			what:    "a pending alert does not fire",
			servers: []*fake{evaluated(since, alert{labels: labels(), pending: true, from: long, since: long})}, want: isQuiet,
		},
		{what: "of a pair, one closed and one firing is firing", servers: []*fake{closed(), evaluated(before, fires)}, want: isFiring},
		{
			what: "of a pair, one closed and one quiet is unknown", servers: []*fake{closed(), evaluated(since)},
			want: isUnknown, says: "connection refused",
		},
		{what: "a pair that is quiet is quiet", servers: []*fake{evaluated(since), evaluated(since)}, want: isQuiet},
		{
			what: "a rule that was not evaluated since proves nothing", servers: []*fake{evaluated(since), evaluated(before)},
			want: isUnknown, says: "the rule BadCanary was not evaluated since",
		},
		{
			what: "a rule that was never evaluated proves nothing", servers: []*fake{{rules: []rule{{name: "BadCanary", health: "unknown"}}}},
			want: isUnknown, says: "was not evaluated since",
		},
		{
			what: "an alert that no evaluator has a rule for is unproven", servers: []*fake{other(), {}},
			want: isUnproven, says: "no server in BACKOUT_PROMETHEUS_URLS has an alert rule named BadCanary",
		},
		{
			what: "servers that do not evaluate backout's rules deny nothing", servers: []*fake{{}, {rules: []rule{{name: "BackoutWatchdog", level: "watchdog"}}}},
			want: isUnknown, says: "no server in BACKOUT_PROMETHEUS_URLS has an alert rule with a backout label",
		},
		{
			what: "a rule whose level is a template makes an evaluator", servers: []*fake{{rules: []rule{{name: "Slow", level: "{{ $labels.level }}"}}}},
			want: isUnproven, says: "no server",
		},
		{
			what: "a server that is down may have the rule", servers: []*fake{other(), closed()},
			want: isUnknown, says: "connection refused",
		},
		{
			what: "a server that does not list its rules may have the rule", servers: []*fake{{rulesStatus: http.StatusForbidden}, other()},
			want: isUnknown, says: "403 Forbidden",
		},
		{what: "a server without the rule does not outweigh one that has it", servers: []*fake{other(), evaluated(since)}, want: isQuiet},
		{what: "a server without the rule can have stored the alert of one that has it", servers: []*fake{{alerts: []alert{fires}}, evaluated(since)}, want: isFiring},
		{
			what: "samples of an alert that no rule has prove nothing", servers: []*fake{{rules: other().rules, alerts: []alert{fires}}},
			want: isUnproven, says: "has an alert rule named BadCanary",
		},
		{
			what: "an alert that fires without a backout label proves nothing", servers: []*fake{evaluated(before, withLabels(fires, "backout", ""))},
			want: isUnproven, says: "the alert BadCanary fires in Prometheus without a backout label",
		},
		{
			what: "nor does one in memory only", servers: []*fake{evaluated(before, unstored(withLabels(fires, "backout", "")))},
			want: isUnproven, says: "without a backout label",
		},
		{
			what: "nor does one with a word that is not a level", servers: []*fake{evaluated(before, withLabels(fires, "backout", "watchdog"))},
			want: isUnproven, says: "without a backout label that is rollback, shed or observe",
		},
		{
			what: "nor does one that lacks the release's label, too", servers: []*fake{evaluated(before, withLabels(fires, "backout", "", "release", ""))},
			want: isUnproven, says: "without a backout label",
		},
		{
			what: "nor does one of another version", servers: []*fake{evaluated(since, withLabels(fires, "backout", "", "version", "v2"))}, want: isQuiet,
		},
		{
			what: "of a pair, one that is down may have it with the label", servers: []*fake{evaluated(before, withLabels(fires, "backout", "")), closed()},
			want: isUnknown, says: "connection refused",
		},
		{
			what: "of a pair, one that has it with the label is enough", servers: []*fake{evaluated(before, withLabels(fires, "backout", "")), evaluated(before, fires)},
			want: isFiring,
		},
		{what: "the level is no part of the match", servers: []*fake{evaluated(before, withLabels(fires, "backout", "observe"))}, want: isFiring},
		{
			what: "a rule that fails proves nothing, not even by its older alerts",
			servers: []*fake{{
				rules:  []rule{{name: "BadCanary", level: "rollback", health: "err", lastError: "many-to-many\nmatching", evaluated: since}},
				alerts: []alert{{labels: labels(), from: long, since: long, unstored: true}},
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
			what: "another rule's evaluation does not count if a server returns it",
			servers: []*fake{{unfiltered: true, rules: []rule{
				{name: "BadCanary", health: "ok", evaluated: since},
				{name: "Slow", health: "ok", evaluated: before},
			}}},
			want: isQuiet,
		},
		{
			what:    "an alert of a server that has just started is in its memory only",
			servers: []*fake{evaluated(since, alert{labels: labels(), from: before, since: before, unstored: true})}, want: isFiring,
		},
		{
			what:    "an alert that is stored during the queries is found",
			servers: []*fake{evaluated(since, alert{labels: labels(), from: before, since: before, late: true})}, want: isFiring,
		},
		{
			what:    "an alert that a shed has quieted did fire",
			servers: []*fake{evaluated(since, alert{labels: labels(), from: long, since: long, to: after(time.Second)})}, want: isFiring,
		},
		{
			what:    "an alert that began to fire after another server's was received did fire",
			servers: []*fake{evaluated(since, alert{labels: labels(), from: after(time.Second), since: long, to: after(2 * time.Second)})}, want: isFiring,
		},
		{
			what:    "an alert that was over a minute before does not count",
			servers: []*fake{evaluated(since, alert{labels: labels(), from: ago(2 * time.Minute), since: long, to: ago(time.Minute)})}, want: isQuiet,
		},
		{what: "another version's alert is another alert", servers: []*fake{evaluated(since, withLabels(fires, "version", "v2"))}, want: isQuiet},
		{what: "another release's alert is another alert", servers: []*fake{evaluated(since, withLabels(fires, "release", "shop-2"))}, want: isQuiet},
		{what: "another namespace's alert is another alert", servers: []*fake{evaluated(since, withLabels(fires, "namespace", "web-2"))}, want: isQuiet},
		{what: "another alert of the release is another alert", servers: []*fake{evaluated(since, withLabels(fires, "alertname", "Slow"))}, want: isQuiet},
		{
			what: "an alert without a version is confirmed by any", servers: []*fake{evaluated(since, withLabels(fires, "version", "v2"))},
			change: func(a *rollback.Signal) { a.Version = "" }, want: isFiring,
		},
		{
			what:    "a version that was shortened is not compared",
			servers: []*fake{evaluated(since, withLabels(fires, "version", strings.Repeat("v", 200)))},
			change:  func(a *rollback.Signal) { a.Version = strings.Repeat("v", 127) + "…" }, want: isFiring,
		},
		{
			what:    "an alert that fires without the release's label may be another release's",
			servers: []*fake{evaluated(since, withLabels(fires, "release", ""))},
			want:    isUnknown, says: "fires there without the label release",
		},
		{
			what: "quotes and backslashes in labels do not end a string", servers: []*fake{evaluated(since, withLabels(fires, "version", `v3"}\ or vector(1)`))},
			change: func(a *rollback.Signal) { a.Version = `v3"}\or` }, want: isQuiet,
		},
		{
			what: "quotes and backslashes in labels are found", servers: []*fake{evaluated(since, withLabels(fires, "version", `v3"\.*`))},
			change: func(a *rollback.Signal) { a.Version = `v3"\.*` }, want: isFiring,
		},
		{
			what: "quotes and backslashes in the alert's name are found",
			servers: []*fake{{
				rules: []rule{{name: `Bad"Canary\`, health: "ok", evaluated: since}}, alerts: []alert{withLabels(fires, "alertname", `Bad"Canary\`)},
			}},
			change: func(a *rollback.Signal) { a.Alert = `Bad"Canary\` }, want: isFiring,
		},
		{
			what: "a label's value is not a regular expression", servers: []*fake{evaluated(since, withLabels(fires, "version", "v3"))},
			change: func(a *rollback.Signal) { a.Version = "v.*" }, want: isQuiet,
		},
		{what: "a server error proves nothing", servers: []*fake{respond(503, "unavailable")}, want: isUnknown, says: "server error: 503"},
		{what: "an HTML page proves nothing", servers: []*fake{respond(200, "<html>")}, want: isUnknown, says: "invalid character '<'"},
		{
			what: "a redirect is not followed", servers: []*fake{respond(302, "")},
			want: isUnknown, says: "it responds 302 Found: backout does not follow redirects; name the address",
		},
		{what: "a server that refuses the token", servers: []*fake{respond(401, "")}, want: isUnknown, says: "check BACKOUT_PROMETHEUS_TOKEN_FILE"},
		{what: "a server without the API", servers: []*fake{respond(404, "")}, want: isUnknown, says: "check the path prefix"},
		{what: "a response without end is cut off", servers: []*fake{endless()}, want: isUnknown, says: "its response is larger than 4 MiB: split the rule"},
		{
			what: "a response that no Prometheus would send", servers: []*fake{respond(200, `{"status":"success","data":{"resultType":"vector","result":[]}}`)},
			want: isUnknown, says: "does not return its time",
		},
		{what: "a partial response proves nothing", servers: []*fake{withWarning(evaluated(since))}, want: isUnknown, says: "it warns: a store does not answer"},
	} {
		t.Run(c.what, func(t *testing.T) {
			a := badCanary
			if c.change != nil {
				c.change(&a)
			}
			got := newClient(t, prom.Config{URLs: start(t, c.servers...)}).Firing(t.Context(), shop, a, receipt)
			if got.Answer != c.want || !strings.Contains(got.Error, c.says) || (c.want == isUnknown || c.want == isUnproven) != (got.Error != "") {
				t.Errorf("%s: want %s %q, got %+v", c.what, c.want, c.says, got)
			}
			if strings.ContainsAny(got.Error, "\n") {
				t.Errorf("a reason is one line: %q", got.Error)
			}
		})
	}
}

// TestFiringDoesNotWaitForAHangingServer has one server that never answers.
func TestFiringDoesNotWaitForAHangingServer(t *testing.T) {
	fires := alert{labels: labels(), from: ago(time.Minute), since: ago(time.Minute)}
	client := newClient(t, prom.Config{URLs: start(t, hanging(), evaluated(ago(time.Second), fires))})
	if got := client.Firing(t.Context(), shop, badCanary, receipt); got.Answer != isFiring {
		t.Errorf("one server that reports firing is enough: got %+v", got)
	}
}

func TestFiringEndsWithTheContext(t *testing.T) {
	client := newClient(t, prom.Config{URLs: start(t, hanging(), evaluated(after(time.Second)))})
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	got := client.Firing(ctx, shop, badCanary, receipt)
	if got.Answer != isUnknown || strings.Count(got.Error, "no answer in time") != 1 {
		t.Errorf("a server that does not answer in time makes it unknown, and is named: got %+v", got)
	}
}

// TestFiringEndsWithTheContextIfTheTokenHangs has the token on a volume that hangs.
func TestFiringEndsWithTheContextIfTheTokenHangs(t *testing.T) {
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
		// This ends reads that still wait for a writer.
		if writer, err := os.OpenFile(file, os.O_RDWR, 0); err == nil {
			_ = writer.Close()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := client.Firing(ctx, shop, badCanary, receipt); got.Answer != isUnknown || !strings.Contains(got.Error, "no answer in time") {
		t.Errorf("a token that cannot be read in time makes it unknown: got %+v", got)
	}
}
