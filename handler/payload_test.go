package handler_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// anAlert is one firing alert as Alertmanager writes it.
const anAlert = `{"status":"firing","labels":{"alertname":"CanaryErrors","backout":"rollback","namespace":"shop","release":"web"},` +
	`"annotations":{"summary":"half of the requests fail"},"startsAt":"2026-11-27T12:00:00.5+02:00","endsAt":"0001-01-01T00:00:00Z",` +
	`"generatorURL":"http://prometheus/graph","fingerprint":"9c5d6a1e0b7f2d34"}`

// envelope is a payload of version 4 around alerts.
func envelope(alerts string) string {
	return `{"receiver":"backout","status":"firing","alerts":[` + alerts + `],"groupLabels":{},"commonLabels":{},` +
		`"commonAnnotations":{},"externalURL":"http://alertmanager","version":"4","groupKey":"{}:{}","truncatedAlerts":0}`
}

// payload is a valid one, in which each pair of old and new text is replaced.
func payload(oldnew ...string) string {
	return strings.NewReplacer(oldnew...).Replace(envelope(anAlert))
}

func TestPayloadIsDecoded(t *testing.T) {
	firing := rollback.Alert{
		Labels:      map[string]string{"alertname": "CanaryErrors", "backout": "rollback", "namespace": "shop", "release": "web"},
		Annotations: map[string]string{"summary": "half of the requests fail"},
		Fingerprint: "9c5d6a1e0b7f2d34", StartsAt: time.Date(2026, 11, 27, 10, 0, 0, 5e8, time.UTC), GeneratorURL: "http://prometheus/graph", Route: "backout",
	}
	resolved := firing
	resolved.Resolved = true
	over := strings.Replace(anAlert, `"firing"`, `"resolved"`, 1)
	for _, c := range []struct {
		rule, body string
		want       []rollback.Alert
	}{
		{"a firing alert is passed on as it is", payload(), []rollback.Alert{firing}},
		{"a resolved alert is passed on as resolved", envelope(over), []rollback.Alert{resolved}},
		{"alerts keep their order", envelope(over + "," + anAlert), []rollback.Alert{resolved, firing}},
		{
			"the group's status does not count: with max_alerts it can be resolved while an alert fires",
			strings.Replace(payload(), `"status":"firing","alerts"`, `"status":"resolved","alerts"`, 1),
			[]rollback.Alert{firing},
		},
		{"alerts that were cut off do not hide the others", payload(`"truncatedAlerts":0`, `"truncatedAlerts":40`), []rollback.Alert{firing}},
		{"the number of cut off alerts may be missing", payload(`,"truncatedAlerts":0`, ``), []rollback.Alert{firing}},
		{"unknown fields are ignored", payload(`"version":"4"`, `"version":"4","routeID":"{}/0","notificationReason":{"a":[1]}`), []rollback.Alert{firing}},
		{"space around the payload is ignored", "\n " + payload() + "\n\n", []rollback.Alert{firing}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s, in := newServer(t, nil)
			if w := post(s.Handler(), c.body); w.Code != http.StatusOK {
				t.Fatalf("a payload of version 4 is answered 200: got %d %s", w.Code, w.Body)
			}
			sameInstant := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
			if diff := cmp.Diff([][]rollback.Alert{c.want}, in.batches(), sameInstant); diff != "" {
				t.Errorf("one payload is passed on once (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvalidPayloadIsRefused(t *testing.T) {
	huge := strings.Repeat("x", 100_000)
	for name, body := range map[string]string{
		"empty body":              "",
		"not JSON":                "alerts!",
		"null":                    "null",
		"array":                   "[" + payload() + "]",
		"string":                  `"4"`,
		"cut off":                 payload()[:len(payload())-1],
		"form":                    "payload=%7B%7D",
		"version missing":         payload(`"version":"4",`, ``),
		"version 1":               payload(`"version":"4"`, `"version":"1"`),
		"version 3":               payload(`"version":"4"`, `"version":"3"`),
		"version 5":               payload(`"version":"4"`, `"version":"5"`),
		"version as number":       payload(`"version":"4"`, `"version":4`),
		"custom payload":          `{"text":"CanaryErrors fires","channel":"#ops"}`,
		"huge version":            payload(`"version":"4"`, `"version":"`+huge+`"`),
		"no alerts":               envelope(""),
		"alerts null":             strings.Replace(payload(), "["+anAlert+"]", "null", 1),
		"alerts missing":          `{"version":"4"}`,
		"alerts of the API v2":    "[" + anAlert + "]",
		"alert null":              envelope("null"),
		"status missing":          envelope(strings.Replace(anAlert, `"status":"firing",`, ``, 1)),
		"status unknown":          envelope(strings.Replace(anAlert, `"firing"`, `"suppressed"`, 1)),
		"status huge":             envelope(strings.Replace(anAlert, `"firing"`, `"`+huge+`"`, 1)),
		"startsAt missing":        envelope(strings.Replace(anAlert, `"startsAt":"2026-11-27T12:00:00.5+02:00",`, ``, 1)),
		"startsAt zero":           payload(`2026-11-27T12:00:00.5+02:00`, `0001-01-01T00:00:00Z`),
		"startsAt no time":        payload(`2026-11-27T12:00:00.5+02:00`, `noon`),
		"fingerprint missing":     envelope(strings.Replace(anAlert, `,"fingerprint":"9c5d6a1e0b7f2d34"`, ``, 1)),
		"fingerprint empty":       payload(`9c5d6a1e0b7f2d34`, ``),
		"labels missing":          envelope(`{"status":"firing","startsAt":"2026-11-27T12:00:00Z","fingerprint":"9c"}`),
		"labels empty":            envelope(`{"status":"firing","labels":{},"startsAt":"2026-11-27T12:00:00Z","fingerprint":"9c"}`),
		"label no text":           payload(`"namespace":"shop"`, `"namespace":["shop"]`),
		"one alert of two bad":    envelope(anAlert + "," + strings.Replace(anAlert, `"firing"`, `"?"`, 1)),
		"second payload after it": payload() + payload(),
		"rest after it":           payload() + "}",
		"NUL after it":            payload() + "\x00",
		"nested without end":      strings.Repeat("[", 50_000),
	} {
		t.Run(name, func(t *testing.T) {
			s, in := newServer(t, nil)
			w := post(s.Handler(), body)
			if w.Code != http.StatusBadRequest {
				t.Fatalf("any other body than a payload of version 4 is answered 400: got %d", w.Code)
			}
			problem, hint := problemOf(t, w)
			if !strings.Contains(problem, "version 4") || !strings.Contains(hint, "webhook_config") || !strings.Contains(hint, "Grafana") {
				t.Errorf("the answer says what is wrong and how to fix it: got %q, %q", problem, hint)
			}
			if len(problem) > 1000 {
				t.Errorf("neither the answer nor the log repeats a long payload: got %d bytes", len(problem))
			}
			if n := len(in.batches()); n != 0 {
				t.Errorf("no alert of it is passed on: got %d batches", n)
			}
		})
	}
}

// TestBodyLimit: the limit is exact to the byte.
func TestBodyLimit(t *testing.T) {
	for _, limit := range []int64{int64(len(payload())) + 1000, 1 << 20} {
		s, in := newServer(t, func(o *handler.Options) { o.Config.MaxBody = limit })
		// The padding is once inside the payload and once after it.
		for where, pad := range map[string]func(int) string{
			"inside": func(n int) string { return payload(`half of`, `half of`+strings.Repeat("f", n)) },
			"after":  func(n int) string { return payload() + strings.Repeat(" ", n) },
		} {
			room := int(limit) - len(payload())
			for _, c := range []struct{ more, want int }{{0, http.StatusOK}, {1, http.StatusRequestEntityTooLarge}} {
				t.Run(fmt.Sprintf("%d, padded %s, %d more", limit, where, c.more), func(t *testing.T) {
					before := len(in.batches())
					w := post(s.Handler(), pad(room+c.more))
					if w.Code != c.want {
						t.Errorf("a body of %d+%d bytes is answered %d: got %d", limit, c.more, c.want, w.Code)
					}
					passed := len(in.batches()) - before
					if (c.want == http.StatusOK) != (passed == 1) {
						t.Errorf("a body that is too large is not passed on, any other is: got %d batches", passed)
					}
					if c.want != http.StatusOK {
						if _, hint := problemOf(t, w); !strings.Contains(hint, "BACKOUT_MAX_BODY_BYTES") {
							t.Errorf("the hint names the setting: got %q", hint)
						}
					}
				})
			}
		}
	}
}
