package handler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/alertmanager/template"

	"github.com/upcommerce/backout/rollback"
)

// The versions of the payloads that Alertmanager and Grafana post.
const (
	alertmanagerVersion = "4"
	grafanaVersion      = "1"
)

// message is the payload that Alertmanager posts to a webhook receiver, Mimir's and any other
// that is built on it included, or Grafana to a contact point of type webhook.
// https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
// https://github.com/grafana/alerting/blob/main/receivers/webhook/v1/webhook.go
type message struct {
	*template.Data

	Version         string `json:"version"`
	GroupKey        string `json:"groupKey"`
	TruncatedAlerts uint64 `json:"truncatedAlerts"`
	// OrgID is the organization in Grafana; nil in a payload of Alertmanager.
	OrgID *int64 `json:"orgId"`
}

// ofGrafana reports whether Grafana's contact point has posted the payload.
func (m message) ofGrafana() bool { return m.Version == grafanaVersion && m.OrgID != nil }

// from names the sender, as the payload does.
func (m message) from() string {
	return fmt.Sprintf("receiver %.80q of %.200q", receiverName(m.Receiver), m.ExternalURL)
}

// errAPI says that a body is one for Alertmanager's own API.
var errAPI = errors.New("it is a list of alerts, as Prometheus, Thanos Ruler and vmalert post to Alertmanager's API v2: " +
	"put an Alertmanager between them and backout")

// Decode reads one payload of Alertmanager or Grafana and returns an error if anything follows it. It
// ignores the status of the group, which with max_alerts can be resolved while an alert
// that was cut off fires. It ignores unknown fields, because Alertmanager adds fields
// within version 4. It returns errTooMuch, having decoded nothing, for a payload that
// exceeds a bound, and an error if the decoder panics.
//
// The second result is how many alerts Alertmanager left out.
func Decode(body io.Reader) ([]rollback.Alert, uint64, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, 0, err
	}
	return decode(text)
}

// decode is Decode for a body that was read.
func decode(text []byte) (alerts []rollback.Alert, truncated uint64, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			alerts, err = nil, fmt.Errorf("it cannot be decoded: %v", cause)
		}
	}()
	if err := checkPayload(text); err != nil {
		if !json.Valid(text) {
			err = errors.New("it is not one JSON object")
		}
		return nil, 0, err
	}
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); bytes.HasPrefix(trimmed, []byte("[")) && json.Valid(text) {
		return nil, 0, errAPI
	}
	var m message
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&m); err != nil {
		return nil, 0, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("more follows the JSON object")
		}
		return nil, 0, err
	}
	alerts, err = m.alerts()
	return alerts, m.TruncatedAlerts, err
}

// alerts returns the alerts of the payload, or an error if one of them is not complete.
func (m message) alerts() ([]rollback.Alert, error) {
	if m.Version != alertmanagerVersion && !m.ofGrafana() {
		return nil, fmt.Errorf("version is %.40q, want %q, or %q with the orgId of Grafana: the receiver must not set a custom payload",
			m.Version, alertmanagerVersion, grafanaVersion)
	}
	if m.Data == nil || len(m.Alerts) == 0 {
		return nil, errors.New("it contains no alerts")
	}
	alerts := make([]rollback.Alert, len(m.Alerts))
	for i, a := range m.Alerts {
		if a.Status != "firing" && a.Status != "resolved" {
			return nil, fmt.Errorf("alerts[%d].status is %.40q, want firing or resolved", i, a.Status)
		}
		if a.StartsAt.IsZero() || len(a.Labels) == 0 {
			return nil, fmt.Errorf("alerts[%d] of %s lacks labels or startsAt", i, m.from())
		}
		if a.Fingerprint == "" {
			return nil, fmt.Errorf("alerts[%d] of %s lacks its fingerprint, which Alertmanager sends since version 0.19: "+
				"update the sender, or correct what changes the payload on its way", i, m.from())
		}
		alerts[i] = rollback.Alert{
			Labels: a.Labels, Annotations: a.Annotations, Fingerprint: a.Fingerprint,
			StartsAt: a.StartsAt, Resolved: a.Status == "resolved", GeneratorURL: a.GeneratorURL, Route: receiverName(m.Receiver),
			OfGrafana: m.ofGrafana(),
		}
	}
	return alerts, nil
}

// receiverName returns the name of the receiver, which Alertmanager quotes like a regular
// expression.
func receiverName(quoted string) string { return strings.ReplaceAll(quoted, `\`, "") }
