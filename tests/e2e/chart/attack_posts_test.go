package chart

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// fire posts an alert until it is accepted, as Alertmanager does.
func (a *attacked) fire(t *testing.T, labels map[string]string) {
	t.Helper()
	body := webhookOf(labels)
	eventually(t, "the alert is accepted", func(context.Context) bool {
		code, _ := a.send(t, body) //nolint:contextcheck // the context of the test
		return code == http.StatusOK
	})
}

// send posts a body with the token of shop. Several may be sent at a time.
func (a *attacked) send(t *testing.T, body []byte) (code int, text string) {
	t.Helper()
	// An answer that comes before all of the body was read can be lost: the connection is closed with it. A sender repeats.
	for range 3 {
		if code, text = a.sendOnce(t, body); code != 0 {
			break
		}
	}
	return code, text
}

func (a *attacked) sendOnce(t *testing.T, body []byte) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.webhook+"/api/v1/alerts", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Close = true // backout may have closed the connection of the request before for a new one
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Logf("no answer: %v", err)
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// webhookOf is a webhook with an alert of each of these labels.
func webhookOf(labels ...map[string]string) []byte {
	var alerts []map[string]any
	for i, l := range labels {
		alerts = append(alerts, map[string]any{"status": "firing", "labels": l, "startsAt": time.Now(), "fingerprint": fmt.Sprintf("%016x", i)})
	}
	text, _ := json.Marshal(map[string]any{"version": "4", "status": "firing", "alerts": alerts})
	return text
}

// metrics returns backout's metrics.
func (a *attacked) metrics(t *testing.T) string {
	t.Helper()
	code, text := a.get(t, a.url(t, own+"-ops")+"/metrics", a.reader)
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d %.300s", code, text)
	}
	return text
}
