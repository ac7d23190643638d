package sandbox_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

func TestAlertmanagerPostsToTheWebhook(t *testing.T) {
	t.Parallel()
	s := sandbox.Start(t)
	token := filepath.Join(s.Dir(), "token")
	if err := os.WriteFile(token, []byte("plum"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, s, self(t, "webhook", "webhook"))
	a, err := s.Alertmanager(t.Context(), sandbox.AlertmanagerOptions{WebhookURL: "http://" + webhookAddress, TokenFile: token})
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Alertmanager(t.Context(), sandbox.AlertmanagerOptions{Name: "second", Port: 9094, WebhookURL: "http://" + webhookAddress})
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"alertname": "CanaryErrors", "namespace": "default", "release": "shop", "backout": "rollback"}
	for _, a := range []*sandbox.Alertmanager{a, second} {
		if err := a.Fire(t.Context(), sandbox.Alert{Labels: labels, Annotations: map[string]string{"summary": "half of the requests fail"}}); err != nil {
			t.Fatal(err)
		}
	}
	host, err := s.Forward(t.Context(), webhookAddress)
	if err != nil {
		t.Fatal(err)
	}
	var received []posted
	eventually(t, func() error {
		received = nil
		r, err := http.Get("http://" + host)
		if err != nil {
			return err
		}
		defer func() { _ = r.Body.Close() }()
		if err := json.NewDecoder(r.Body).Decode(&received); err != nil {
			return err
		}
		if len(received) < 2 {
			return errors.New("only one of the Alertmanagers has posted, or none")
		}
		return nil
	})
	authorized := 0
	for _, p := range received {
		checkPayload(t, p.Body, labels)
		if p.Authorization == "Bearer plum" {
			authorized++
		}
	}
	if authorized == 0 {
		t.Error("the Alertmanager with a token did not send it")
	}
}

func checkPayload(t *testing.T, body []byte, labels map[string]string) {
	t.Helper()
	var payload struct {
		Version     string
		Status      string
		GroupLabels map[string]string
	}
	if err := json.Unmarshal(body, &payload); err != nil {
		t.Fatal(err)
	}
	if payload.Version != "4" || payload.Status != "firing" {
		t.Errorf("the payload must be firing, in version 4: %s", body)
	}
	for k, v := range labels {
		if payload.GroupLabels[k] != v {
			t.Errorf("alerts must be grouped by %s: %s", k, body)
		}
	}
}

func TestAlertmanagerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	s := sandbox.Start(t)
	_, err := s.Alertmanager(t.Context(), sandbox.AlertmanagerOptions{WebhookURL: "no address"})
	if err == nil || !strings.Contains(err.Error(), "unsupported scheme") {
		t.Errorf("the error must contain Alertmanager's own error: %v", err)
	}
}
