package handler_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// hostile is the text of an alert that tries to become more than text.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)> javascript:alert(3)`

// rolledBack is a record of a rollback that helped; its alert was received that long ago.
func rolledBack(release string, revision int, ago time.Duration) rollback.Record {
	at := time.Now().Add(-ago)
	done := func(after time.Duration) *rollback.Step {
		return &rollback.Step{Started: at, Done: at.Add(after), Attempts: 1}
	}
	return rollback.Record{
		Key: rollback.Key{Namespace: "shop", Release: release}, Revision: revision, UID: "u", Opened: at,
		Signals: []rollback.Signal{{
			Alert: "CanaryErrorRatio", Level: rollback.LevelRollback, Summary: hostile, StartsAt: at.Add(-time.Second), Received: at,
		}},
		Decisions: []rollback.Decision{{Verdict: rollback.Act, Reason: "an alert fires", Shed: true, Rollback: true, Target: 1, At: at}},
		Trace: &rollback.Trace{
			At: at, Checks: []rollback.TraceCheck{{Name: "storm", Result: "0 other releases have alerts"}},
			Candidates: []rollback.Candidate{{Revision: 1, Status: rollback.StatusSuperseded, Deployed: at}},
		},
		Shed: done(30 * time.Millisecond), Rollback: done(time.Second), Restore: done(2 * time.Second), Verify: done(time.Minute),
		Weights: []rollback.Weight{{Kind: "Ingress", Name: "shop-canary", From: "20", To: "0"}},
		Outcome: rollback.OutcomeRecovered, Target: 1, Made: 3, Closed: at.Add(time.Minute),
	}
}

// newPageServer returns a server whose board shows the records and whose reader has them.
func newPageServer(t *testing.T, all ...rollback.Record) (*handler.Server, *report.Board) {
	t.Helper()
	board := report.NewBoard()
	for _, r := range all {
		board.SetRecord(r)
	}
	s, _ := newServer(t, func(o *handler.Options) { o.Reader, o.Board = records{all: all}, board })
	return s, board
}

func TestPagesAllowNoInjection(t *testing.T) {
	s, board := newPageServer(t, rolledBack("web", 2, time.Hour))
	board.SetReleases("shop", []rollback.GuardedRelease{{Key: rollback.Key{Namespace: "shop", Release: "web"}, Routes: []rollback.RouteShare{{Route: hostile, Percent: 20}}}})
	for _, path := range []string{"/", "/records/shop/web/2", "/records/shop/web/9", "/elsewhere", "/?namespace=" + "%22%3E%3Cscript%3E"} {
		w := get(s.OpsHandler(), path)
		if got := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'self';") || strings.Contains(got, "unsafe") {
			t.Errorf("%s loads only its own files: got %q", path, got)
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s has the header %s: %s: got %q", path, header, want, got)
			}
		}
		body := w.Body.String()
		for _, bad := range []string{"<script>", "<img src=x", "style=", "onerror=alert(2)>\"", `href="javascript`, "http://", "https://"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s: the text of an alert stays text, and the page loads nothing from other hosts: found %s", path, bad)
			}
		}
	}
	if body := get(s.OpsHandler(), "/").Body.String(); !strings.Contains(body, "&lt;script&gt;alert(1)") {
		t.Error("the text of an alert is shown, escaped")
	}
}

// TestPageNeedsNoScript: the HTML contains everything, and reloads by itself.
func TestPageNeedsNoScript(t *testing.T) {
	s, board := newPageServer(t, rolledBack("web", 2, time.Hour))
	board.SetReleases("shop", []rollback.GuardedRelease{
		{Key: rollback.Key{Namespace: "shop", Release: "web"}, Routes: []rollback.RouteShare{{Route: "Ingress/shop-canary", Percent: 12.5}}, ReadAt: time.Now()},
		{Key: rollback.Key{Namespace: "shop", Release: "plain"}, ReadAt: time.Now()},
	})
	body := get(s.OpsHandler(), "/").Body.String()
	for _, want := range []string{
		`<noscript><meta http-equiv="refresh"`, "Nothing is being rolled back", "shop/web", "revision 2", "recovered", "rolled back to revision 1",
		`aria-label="alert fired 0.000 s, received 1.0 s, weight zero 1.0 s`, "12.5%", "Ingress/shop-canary", "no record", "no route to a canary found",
		"None since this replica started", `<html lang="en">`, `<main id="main">`, `role="status"`, `href="/records/shop/web/2"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page shows %q without a script:\n%s", want, body)
		}
	}
	if strings.Count(body, "<script") != 1 || strings.Contains(body, "onclick") || strings.Contains(body, `method="post"`) {
		t.Error("the page is read-only, with one script from a file")
	}
}

// TestHeadline: the page answers whether backout is doing something, whether it helped, and
// what to do.
func TestHeadline(t *testing.T) {
	acting, verifying, notRecovered, old := rolledBack("web", 2, time.Minute), rolledBack("api", 2, time.Minute), rolledBack("bank", 2, time.Hour), rolledBack("past", 2, 30*time.Hour)
	acting.Closed, acting.Outcome, acting.Rollback, acting.Restore, acting.Verify = time.Time{}, "", nil, nil, nil
	verifying.Closed, verifying.Outcome, verifying.Verify = time.Time{}, "", nil
	notRecovered.Outcome = rollback.OutcomeNotRecovered
	old.Outcome = rollback.OutcomeNotRecovered
	earlier := notRecovered
	earlier.Revision, earlier.Closed = 1, time.Time{}
	for _, c := range []struct {
		rule    string
		records []rollback.Record
		want    string
	}{
		{"no record", nil, "Nothing is being rolled back"},
		{"acting comes before verifying", []rollback.Record{acting, verifying}, "backout is acting now on 1 release"},
		{"verifying", []rollback.Record{verifying}, "1 release is rolled back; backout is verifying that it helped"},
		{"needing help comes first", []rollback.Record{acting, notRecovered}, "1 release needs you; backout is acting now on 1 release"},
		{"a release counts once", []rollback.Record{notRecovered, earlier}, "1 release needs you"},
		{"a record that ended badly more than four hours ago needs no help now", []rollback.Record{old}, "Nothing is being rolled back"},
	} {
		s, _ := newPageServer(t, c.records...)
		if body := get(s.OpsHandler(), "/").Body.String(); !strings.Contains(body, c.want) {
			t.Errorf("%s: the headline is %q", c.rule, c.want)
		}
	}
	s, _ := newPageServer(t, notRecovered)
	if body := get(s.OpsHandler(), "/").Body.String(); !strings.Contains(body, "Needs you now") || !strings.Contains(body, "helm history bank -n shop") {
		t.Error("a record that needs help has the command to run")
	}
}

func TestFiltersSelectRecords(t *testing.T) {
	held := rolledBack("api", 3, time.Minute)
	held.Outcome, held.Rollback, held.Restore, held.Verify, held.Closed = "", nil, nil, nil, time.Time{}
	held.Hold, held.Decisions[0] = &rollback.Hold{Since: time.Now()}, rollback.Decision{Verdict: rollback.NoTarget, Hold: true, Shed: true}
	held.Namespace = "pay"
	s, _ := newPageServer(t, rolledBack("web", 2, time.Hour), held)
	for query, want := range map[string]string{
		"": "pay/api/3 shop/web/2 ", "?namespace=shop": "shop/web/2 ", "?state=held": "pay/api/3 ", "?verdict=act": "shop/web/2 ",
		"?namespace=shop&state=held": "", "?verdict=nonsense": "",
	} {
		body, got := get(s.OpsHandler(), "/"+query).Body.String(), ""
		_, body, _ = strings.Cut(body, `<div id="records"`)
		body, _, _ = strings.Cut(body, `<section id="releases"`)
		for _, name := range []string{"pay/api/3", "shop/web/2"} {
			if strings.Contains(body, `href="/records/`+name) {
				got += name + " "
			}
		}
		if got != want {
			t.Errorf("/%s shows %q: got %q", query, want, got)
		}
		var answer struct{ Records []rollback.Record }
		if err := json.Unmarshal(get(s.OpsHandler(), "/api/v1/records"+query).Body.Bytes(), &answer); err != nil || len(answer.Records) != strings.Count(want, " ") {
			t.Errorf("the JSON is filtered as the page is, by %q: got %d records, %v", query, len(answer.Records), err)
		}
	}
}

func TestPagesAreAlsoJSON(t *testing.T) {
	s, board := newPageServer(t, rolledBack("web", 2, time.Hour))
	board.SetReleases("shop", []rollback.GuardedRelease{{Key: rollback.Key{Namespace: "shop", Release: "web"}}})
	for path, want := range map[string]string{
		"/": `"state": "recovered"`, "/records/shop/web/2": `"outcome": "recovered"`, "/records/shop/web/3": `"error":"there is no such record"`,
		"/api/v1/releases": `"release": "web"`, "/api/v1/releases?namespace=other": `"releases": []`,
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Accept", "application/json")
		w := httptest.NewRecorder()
		s.OpsHandler().ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/json") || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s as JSON has %s: got %s %s", path, want, got, w.Body)
		}
	}
}

func TestFilesOfThePageAreServed(t *testing.T) {
	s, _ := newPageServer(t)
	for path, want := range map[string]string{"/page/style.css": "text/css", "/page/live.js": "javascript", "/page/icon.svg": "image/svg+xml"} {
		w := get(s.OpsHandler(), path)
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.Contains(got, want) || w.Header().Get("ETag") == "" {
			t.Errorf("%s is served as %s: got %d %s", path, want, w.Code, got)
		}
	}
	for _, path := range []string{"/page/overview.html", "/page/..", "/page/"} {
		if w := get(s.OpsHandler(), path); w.Code == http.StatusOK {
			t.Errorf("%s is not served: got %d", path, w.Code)
		}
	}
}

// TestPageOfAThousandReleasesStaysSmall: the page sends no request to the API server,
// however much it shows.
func TestPageOfAThousandReleasesStaysSmall(t *testing.T) {
	board := report.NewBoard()
	var all []rollback.GuardedRelease
	for i := range 1000 {
		name := fmt.Sprintf("web-%d", i)
		board.SetRecord(rolledBack(name, 2, time.Duration(i)*time.Minute))
		all = append(all, rollback.GuardedRelease{Key: rollback.Key{Namespace: "shop", Release: name}, ReadAt: time.Now()})
	}
	board.SetReleases("shop", all)
	s, _ := newServer(t, func(o *handler.Options) {
		o.Board, o.Reader = board, records{err: errors.New("not to be read")}
	})
	w := get(s.OpsHandler(), "/")
	if w.Code != http.StatusOK || w.Body.Len() > 500_000 {
		t.Errorf("the page shows a part of the records: got %d, %d bytes", w.Code, w.Body.Len())
	}
	for _, want := range []string{"900 more are not shown", "800 more are not shown"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page says that %s", want)
		}
	}
}
