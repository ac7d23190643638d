package handler_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// spiteful is what somebody writes into an alert who wants to be more than text.
const spiteful = `"><script>alert(1)</script><img src=x onerror=alert(2)> javascript:alert(3)`

// rolledBack is a record that went all the way, received that long ago.
func rolledBack(release string, revision int, ago time.Duration) rollback.Record {
	at := time.Now().Add(-ago)
	done := func(after time.Duration) *rollback.Step {
		return &rollback.Step{Started: at, Done: at.Add(after), Attempts: 1}
	}
	return rollback.Record{
		Key: rollback.Key{Namespace: "shop", Release: release}, Revision: revision, UID: "u", Opened: at,
		Accusations: []rollback.Accusation{{
			Alert: "CanaryErrorRatio", Level: rollback.LevelRollback, Summary: spiteful, StartsAt: at.Add(-time.Second), Received: at,
		}},
		Decisions: []rollback.Decision{{Verdict: rollback.Act, Reason: "accused", Shed: true, Rollback: true, Target: 1, At: at}},
		Grounds: &rollback.Grounds{
			At: at, Looked: []rollback.Look{{What: "storm", Found: "0 other releases accused"}},
			Candidates: []rollback.Candidate{{Revision: 1, Status: rollback.StatusSuperseded, Deployed: at}},
		},
		Shed: done(30 * time.Millisecond), Rollback: done(time.Second), Raise: done(2 * time.Second), Verify: done(time.Minute),
		Weights: []rollback.Weight{{Kind: "Ingress", Name: "shop-canary", From: "20", To: "0"}},
		Outcome: rollback.Recovered, Target: 1, Made: 3, Closed: at.Add(time.Minute),
	}
}

// newPage is a server whose board shows the records, and whose reader has them.
func newPage(t *testing.T, records ...rollback.Record) (*handler.Server, *rollback.Board) {
	t.Helper()
	board := rollback.NewBoard()
	for _, r := range records {
		board.Notice(r)
	}
	s, _ := newServer(t, func(o *handler.Options) { o.Reader, o.Board = shelf{records: records}, board })
	return s, board
}

func TestPagesAreSafe(t *testing.T) {
	s, board := newPage(t, rolledBack("web", 2, time.Hour))
	board.Guard("shop", []rollback.Guarded{{Key: rollback.Key{Namespace: "shop", Release: "web"}, Routes: []rollback.Share{{Route: spiteful, Percent: 20}}}})
	for _, path := range []string{"/", "/records/shop/web/2", "/records/shop/web/9", "/elsewhere", "/?namespace=" + "%22%3E%3Cscript%3E"} {
		w := get(s.OpsHandler(), path)
		if got := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'self';") || strings.Contains(got, "unsafe") {
			t.Errorf("%s allows nothing but its own files: got %q", path, got)
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s: %s is %q, got %q", path, header, want, got)
			}
		}
		body := w.Body.String()
		for _, bad := range []string{"<script>", "<img src=x", "style=", "onerror=alert(2)>\"", `href="javascript`, "http://", "https://"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s: what an alert says stays text, and nothing comes from elsewhere: found %s", path, bad)
			}
		}
	}
	if body := get(s.OpsHandler(), "/").Body.String(); !strings.Contains(body, "&lt;script&gt;alert(1)") {
		t.Error("what an alert says is shown, escaped")
	}
}

// TestPageNeedsNoScript: everything is in the HTML itself, and it comes anew by
// itself.
func TestPageNeedsNoScript(t *testing.T) {
	s, board := newPage(t, rolledBack("web", 2, time.Hour))
	board.Guard("shop", []rollback.Guarded{
		{Key: rollback.Key{Namespace: "shop", Release: "web"}, Routes: []rollback.Share{{Route: "Ingress/shop-canary", Percent: 12.5}}, Read: time.Now()},
		{Key: rollback.Key{Namespace: "shop", Release: "plain"}, Read: time.Now()},
	})
	body := get(s.OpsHandler(), "/").Body.String()
	for _, want := range []string{
		`<noscript><meta http-equiv="refresh"`, "Nothing is being rolled back", "shop/web", "revision 2", "recovered", "rolled back to revision 1",
		`aria-label="alert fires 0.000 s, received 1.0 s, weight zero 1.0 s`, "12.5%", "Ingress/shop-canary", "never accused", "no route to a canary is known",
		"None since this replica started", `<html lang="en">`, `<main id="main">`, `role="status"`, `href="/records/shop/web/2"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page shows %q without a script:\n%s", want, body)
		}
	}
	if strings.Count(body, "<script") != 1 || strings.Contains(body, "onclick") || strings.Contains(body, `method="post"`) {
		t.Error("the page reads, with one script from a file")
	}
}

// TestRecordPageExplains: page and terminal say the same.
func TestRecordPageExplains(t *testing.T) {
	r := rolledBack("web", 2, time.Hour)
	s, _ := newPage(t, r)
	w := get(s.OpsHandler(), "/records/shop/web/2")
	e := rollback.Explain(r)
	for _, want := range []string{e.Headline, e.Advice.Text, "Which revision to go back to", "yes: the newest one that was good", "0 other releases accused", "canary without traffic"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the record's page says %q", want)
		}
	}
	for _, path := range []string{"/records/shop/web/3", "/records/shop/web/02", "/records/shop/web/x", "/records/other/web/2"} {
		if w := get(s.OpsHandler(), path); w.Code != http.StatusNotFound {
			t.Errorf("%s is answered 404: got %d", path, w.Code)
		}
	}
}

// TestLinksLeadOnlyToPages: what an alert calls its link can be anything.
func TestLinksLeadOnlyToPages(t *testing.T) {
	for link, want := range map[string]string{
		"http://prometheus.example/graph?a=1&b=2": `href="http://prometheus.example/graph?a=1&amp;b=2" rel="noreferrer noopener"`,
		"javascript:alert(1)":                     `href="#ZgotmplZ"`,
	} {
		r := rolledBack("web", 2, time.Hour)
		r.Accusations[0].Link = link
		s, _ := newPage(t, r)
		if body := get(s.OpsHandler(), "/records/shop/web/2").Body.String(); !strings.Contains(body, want) {
			t.Errorf("the link %s becomes %s", link, want)
		}
	}
}

func TestRecordPageThatCannotBeRead(t *testing.T) {
	s, _ := newServer(t, func(o *handler.Options) { o.Reader = shelf{err: errors.New("forbidden: secret detail")} })
	if w := get(s.OpsHandler(), "/records/shop/web/3"); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "secret detail") {
		t.Errorf("the cause is in the log: got %d %s", w.Code, w.Body)
	}
}

// TestHeadline: the page answers whether something goes on, whether it helped, and
// what to do.
func TestHeadline(t *testing.T) {
	acting, watching, failed, old := rolledBack("web", 2, time.Minute), rolledBack("api", 2, time.Minute), rolledBack("bank", 2, time.Hour), rolledBack("past", 2, 30*time.Hour)
	acting.Closed, acting.Outcome, acting.Rollback, acting.Raise, acting.Verify = time.Time{}, "", nil, nil, nil
	watching.Closed, watching.Outcome, watching.Verify = time.Time{}, "", nil
	failed.Outcome = rollback.NotRecovered
	old.Outcome = rollback.NotRecovered
	for _, c := range []struct {
		rule    string
		records []rollback.Record
		want    string
	}{
		{"nothing", nil, "Nothing is being rolled back"},
		{"what goes on", []rollback.Record{acting, watching}, "Acting now on 1 release"},
		{"what is watched", []rollback.Record{watching}, "1 release is rolled back; watching whether that helped"},
		{"what calls comes before all", []rollback.Record{acting, failed}, "1 release needs you; acting now on 1 release"},
		{"what ended badly long ago calls no more", []rollback.Record{old}, "Nothing is being rolled back"},
	} {
		s, _ := newPage(t, c.records...)
		if body := get(s.OpsHandler(), "/").Body.String(); !strings.Contains(body, c.want) {
			t.Errorf("%s: the page says %q", c.rule, c.want)
		}
	}
	s, _ := newPage(t, failed)
	if body := get(s.OpsHandler(), "/").Body.String(); !strings.Contains(body, "What you must do") || !strings.Contains(body, "helm history bank -n shop") {
		t.Error("what calls has the command to run")
	}
}

func TestFilters(t *testing.T) {
	held := rolledBack("api", 3, time.Minute)
	held.Outcome, held.Rollback, held.Raise, held.Verify, held.Closed = "", nil, nil, nil, time.Time{}
	held.Hold, held.Decisions[0] = &rollback.Hold{Since: time.Now()}, rollback.Decision{Verdict: rollback.NoTarget, Hold: true, Shed: true}
	held.Namespace = "pay"
	s, _ := newPage(t, rolledBack("web", 2, time.Hour), held)
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

func TestTheSameAsJSON(t *testing.T) {
	s, board := newPage(t, rolledBack("web", 2, time.Hour))
	board.Guard("shop", []rollback.Guarded{{Key: rollback.Key{Namespace: "shop", Release: "web"}}})
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

// counting counts how often all records are listed.
type counting struct {
	shelf

	lists atomic.Int32
}

func (c *counting) All(ctx context.Context) ([]rollback.Record, error) {
	c.lists.Add(1)
	return c.shelf.All(ctx)
}

func TestManyReadersOneList(t *testing.T) {
	reader := &counting{shelf: shelf{records: []rollback.Record{rolledBack("web", 2, time.Hour)}}}
	s, _ := newServer(t, func(o *handler.Options) { o.Reader = reader })
	var reading sync.WaitGroup
	for range 20 {
		reading.Go(func() {
			if w := get(s.OpsHandler(), "/api/v1/records?state=recovered"); !strings.Contains(w.Body.String(), `"release": "web"`) {
				t.Errorf("every reader gets the records: got %d %s", w.Code, w.Body)
			}
		})
	}
	reading.Wait()
	if got := reader.lists.Load(); got != 1 {
		t.Errorf("readers who come together cost the API server one list: got %d", got)
	}
}

func TestFiles(t *testing.T) {
	s, _ := newPage(t)
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

// listen opens the live stream and returns its lines.
func listen(t *testing.T, address string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	response, err := http.Get("http://" + address + "/live")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response, bufio.NewScanner(response.Body)
}

// TestLive: a change is told, also after what other answers may take. An event is
// written half a second after the change, so that many are one.
func TestLive(t *testing.T) {
	s, board := newPage(t)
	server := httptest.NewUnstartedServer(s.OpsHandler())
	server.Config.WriteTimeout = 50 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	response, lines := listen(t, strings.TrimPrefix(server.URL, "http://"))
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" || !lines.Scan() {
		t.Fatalf("it is a stream of events: got %s", got)
	}
	board.Notice(rolledBack("web", 2, time.Hour))
	for lines.Scan() {
		if lines.Text() == "event: change" {
			return
		}
	}
	t.Errorf("a change is told: the stream ended with %v", lines.Err())
}

func TestStreamsAreBoundedAndEndAtShutdown(t *testing.T) {
	s, _ := newPage(t)
	_, ops := serve(t, s)
	var last *bufio.Scanner
	for i := range 32 {
		response, lines := listen(t, ops)
		if response.StatusCode != http.StatusOK || !lines.Scan() {
			t.Fatalf("stream %d is answered: got %d", i, response.StatusCode)
		}
		last = lines
	}
	if response, _ := listen(t, ops); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("too many streams are refused: got %d", response.StatusCode)
	}
	limited, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(limited); err != nil {
		t.Fatalf("streams end at the shutdown: %v", err)
	}
	for last.Scan() {
		continue
	}
}

// TestAThousandReleases: the page stays small, and nobody is asked for it.
func TestAThousandReleases(t *testing.T) {
	board := rollback.NewBoard()
	var all []rollback.Guarded
	for i := range 1000 {
		name := fmt.Sprintf("web-%d", i)
		board.Notice(rolledBack(name, 2, time.Duration(i)*time.Minute))
		all = append(all, rollback.Guarded{Key: rollback.Key{Namespace: "shop", Release: name}, Read: time.Now()})
	}
	board.Guard("shop", all)
	s, _ := newServer(t, func(o *handler.Options) {
		o.Board, o.Reader = board, shelf{err: errors.New("nobody is asked")}
	})
	w := get(s.OpsHandler(), "/")
	if w.Code != http.StatusOK || w.Body.Len() > 500_000 {
		t.Errorf("the page shows a part, and says so: got %d, %d bytes", w.Code, w.Body.Len())
	}
	for _, want := range []string{"900 more are not shown", "800 more are not shown"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page says that %s", want)
		}
	}
}
