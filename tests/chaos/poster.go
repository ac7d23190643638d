package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/upcommerce/backout/tests/env/stage"
)

// alert is one alert of a webhook, as Alertmanager posts it.
type alert struct {
	Labels map[string]string
	Starts time.Time
	// Ends is when it was resolved; zero while it fires.
	Ends time.Time
}

// body is a webhook body of version 4.
func body(alerts []alert) ([]byte, error) {
	posted := make([]map[string]any, len(alerts))
	status := "resolved"
	for i, a := range alerts {
		one := "resolved"
		if a.Ends.IsZero() {
			one, status = "firing", "firing"
		}
		posted[i] = map[string]any{
			"status": one, "labels": a.Labels, "annotations": map[string]string{"summary": "half the requests fail"},
			"startsAt": a.Starts.Format(time.RFC3339Nano), "endsAt": a.Ends.Format(time.RFC3339Nano),
			"fingerprint": fmt.Sprintf("%016x", i+1),
		}
	}
	return json.Marshal(map[string]any{
		"version": "4", "groupKey": "{}", "status": status, "receiver": "backout",
		"groupLabels": map[string]string{}, "commonLabels": map[string]string{}, "commonAnnotations": map[string]string{},
		"externalURL": "http://alertmanager", "truncatedAlerts": 0, "alerts": posted,
	})
}

// fire posts the alert, and resolves it once the canary has been without traffic for a
// while.
func (r *Run) fire(ctx context.Context) error {
	alerts := r.alerts()
	if r.Alerts != nil {
		alerts = r.Alerts(r)
	}
	var addresses []string
	for _, replica := range r.replicas {
		addresses = append(addresses, replica.Webhook)
	}
	if err := deliver(ctx, alerts, addresses...); err != nil {
		return err
	}
	if r.Repeats {
		again := slices.Clone(alerts)
		r.background.Go(func() { r.repeat(ctx, again, addresses) })
	}
	r.background.Go(func() {
		if r.watcher.await(ctx, zero) != nil {
			return // the trial is over
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(quietLimit):
		}
		for i := range alerts {
			alerts[i].Ends = time.Now()
		}
		_ = deliver(ctx, alerts, addresses...) // until the trial is over
	})
	return nil
}

// repeatInterval is longer than the replicas' BACKOUT_SETTLE: what had to wait for that is
// decided at the first repeat.
const repeatInterval = 6 * time.Second

// repeat posts the alerts again until the canary is without traffic, as Alertmanager
// does at each repeat_interval.
func (r *Run) repeat(ctx context.Context, alerts []alert, addresses []string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		_ = r.watcher.await(ctx, zero) // until the trial is over
	}()
	tick := time.NewTicker(repeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = deliver(ctx, alerts, addresses...) // until the trial is over
		}
	}
}

// repeatAfter is the pause after a delivery that failed. Alertmanager's grows;
// the trials are short.
const repeatAfter = 200 * time.Millisecond

// deliver posts the alerts to the first of the addresses, and to the next one
// after a failure, as through a Service with several endpoints. Until ctx ends, it
// retries where Alertmanager does: without an answer and after a 5xx.
func deliver(ctx context.Context, alerts []alert, addresses ...string) error {
	text, err := body(alerts)
	if err != nil {
		return fmt.Errorf("encode the webhook: %w", err)
	}
	client := http.Client{Timeout: 10 * time.Second}
	for try := 0; ; try++ {
		code, said, err := post(ctx, &client, addresses[try%len(addresses)], text)
		if err == nil && code < http.StatusInternalServerError {
			if code >= http.StatusMultipleChoices {
				return fmt.Errorf("deliver the alert: %d: %s", code, said)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("deliver the alert: %w (last answer: %d %s %w)", ctx.Err(), code, said, err)
		case <-time.After(repeatAfter):
		}
	}
}

func post(ctx context.Context, client *http.Client, address string, text []byte) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1/alerts", bytes.NewReader(text))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+stage.Token)
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(said), err
}
