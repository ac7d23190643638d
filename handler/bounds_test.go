package handler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

// maxTaken bounds what decoding one payload may allocate, in bytes: up to four are decoded
// at a time.
const maxTaken = 16 << 20

// payloadOf returns a payload of version 4 with this list of alerts.
func payloadOf(alerts string) string {
	return `{"version":"4","groupKey":"g","status":"firing","alerts":` + alerts + `}`
}

// alertOf returns an alert with so many labels.
func alertOf(labels int) string {
	var text strings.Builder
	for i := range labels {
		fmt.Fprintf(&text, `,"l%d":""`, i)
	}
	return `{"status":"firing","labels":{"alertname":"A"` + text.String() + `},"annotations":{"summary":"a, b [{"},"startsAt":"2026-11-27T12:00:00Z","fingerprint":"9c"}`
}

// bombPayloads are payloads of at most 1 MiB that exceed a bound.
func bombPayloads() map[string]string {
	return map[string]string{
		"empty alerts":                       payloadOf("[{}" + strings.Repeat(",{}", 340_000) + "]"),
		"an alert too many":                  payloadOf("[{}" + strings.Repeat(",{}", maxAlerts) + "]"),
		"alerts that are null":               payloadOf("[null" + strings.Repeat(",null", 200_000) + "]"),
		"alerts that are lists":              payloadOf("[[]" + strings.Repeat(",[]", 340_000) + "]"),
		"alerts under two names":             payloadOf("[{}"+strings.Repeat(",{}", maxAlerts/2)+`],"Alerts":[{}`+strings.Repeat(",{}", maxAlerts/2)) + "]}",
		"an alert with too many labels":      payloadOf("[" + alertOf(10) + "," + alertOf(maxAlertValues+1) + "]"),
		"too many labels in all":             payloadOf("[" + alertOf(150) + strings.Repeat(","+alertOf(150), maxPayloadValues/150) + "]"),
		"too many labels besides the alerts": `{"commonLabels":{"a":""` + strings.Repeat(`,"a":""`, 100_000) + `},"alerts":[` + alertOf(1) + `]}`,
		"too many alerts and then a fault":   payloadOf("[{}"+strings.Repeat(",{}", maxAlerts)) + "] x",
	}
}

func TestBombPayloads(t *testing.T) {
	for name, text := range bombPayloads() {
		t.Run(name, func(t *testing.T) {
			var err error
			taken := allocated(func() { _, _, err = decode([]byte(text)) })
			if err == nil || !strings.Contains(name, "fault") && !strings.Contains(name, "two names") && !errors.Is(err, errTooMuch) {
				t.Errorf("a payload beyond the bounds is refused: got %v", err)
			}
			if taken > maxTaken {
				t.Errorf("it takes %d MiB of memory to find out, want at most %d", taken>>20, maxTaken>>20)
			}
		})
	}
}

func TestPayloadsWithinTheBounds(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"a thousand usual alerts":  {payloadOf("[" + alertOf(20) + strings.Repeat(","+alertOf(20), 999) + "]"), 1000},
		"an alert with 100 labels": {payloadOf("[" + alertOf(100) + "]"), 1},
		"a text like JSON":         {payloadOf("[" + strings.Replace(alertOf(1), "a, b [{", strings.Repeat(`{[,\"`, 10_000), 1) + "]"), 1},
	} {
		var alerts int
		taken := allocated(func() {
			all, _, err := decode([]byte(c.text))
			if alerts = len(all); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		if alerts != c.want || taken > maxTaken {
			t.Errorf("%s: got %d alerts with %d MiB, want %d", name, alerts, taken>>20, c.want)
		}
	}
}

// FuzzDecode: no payload makes the decoder panic, and what it accepts is within the bounds.
func FuzzDecode(f *testing.F) {
	for _, text := range bombPayloads() {
		f.Add([]byte(text[:min(len(text), 10_000)]))
	}
	for _, text := range []string{
		payloadOf("[" + alertOf(3) + "]"), payloadOf("null"), payloadOf("{}"), "null", "[]", `{"version":"4"`, payloadOf(`[{"labels":null}]`) + " {}",
		payloadOf(`[{"status":"firing","labels":{"a":"\ud800"},"startsAt":"2026-11-27T12:00:00Z","fingerprint":"9c"}]`), "\xff\x00",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		alerts, _, err := decode(text)
		if err != nil {
			return
		}
		if len(alerts) == 0 || len(alerts) > maxAlerts {
			t.Errorf("a payload has alerts, and not too many: got %d", len(alerts))
		}
		for _, a := range alerts {
			_, _, _ = a.Read(time.Now())
			if len(a.Labels)+len(a.Annotations) > maxAlertValues {
				t.Errorf("an alert has not too many labels: got %d", len(a.Labels)+len(a.Annotations))
			}
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	s := newConnections()
	conns := make([]*closeCounter, maxConnections)
	for i := range conns {
		conns[i] = &closeCounter{closed: make(chan struct{})}
		s.changed(conns[i], http.StateNew)
		s.changed(conns[i], http.StateActive)
		if i != 7 && i != 9 {
			s.admitted(conns[i])
		}
	}
	s.admitted(conns[9])
	s.changed(conns[9], http.StateIdle) // later than 7, which has sent a part of a request
	for _, victim := range []int{7, 9} {
		fresh := &closeCounter{closed: make(chan struct{})}
		s.changed(fresh, http.StateNew)
		s.changed(fresh, http.StateActive)
		s.admitted(fresh)
		select {
		case <-conns[victim].closed:
		case <-time.After(5 * time.Second):
			t.Fatalf("for a new connection, the one is closed that had no admitted request for the longest time: %d is open", victim)
		}
	}
	last := &closeCounter{closed: make(chan struct{})}
	s.changed(last, http.StateNew)
	select {
	case <-last.closed:
	case <-time.After(5 * time.Second):
		t.Fatal("if all have an admitted request, the new connection is closed")
	}
	if len(s.open) != maxConnections {
		t.Errorf("%d connections are open, want %d", len(s.open), maxConnections)
	}
}

// admitted is admit for a test without requests.
func (s *connections) admitted(conn net.Conn) {
	request := httptest.NewRequestWithContext(s.context(context.Background(), conn), http.MethodPost, "/", nil)
	s.admit(&gin.Context{Request: request})
}

// closeCounter is a connection of which a test sees that it was closed.
type closeCounter struct {
	net.Conn
	closed chan struct{}
}

func (c *closeCounter) Close() error {
	close(c.closed)
	return nil
}

// allocated returns the bytes that do allocates, also those that are free afterwards.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
