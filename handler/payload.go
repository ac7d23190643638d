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

// payloadVersion is the only version of Alertmanager's webhook payload.
const payloadVersion = "4"

// message is the payload that Alertmanager posts to a webhook receiver.
// https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
type message struct {
	*template.Data

	Version         string `json:"version"`
	GroupKey        string `json:"groupKey"`
	TruncatedAlerts uint64 `json:"truncatedAlerts"`
}

// Decode reads one payload of Alertmanager and returns an error if anything follows it. It
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
	if m.Version != payloadVersion {
		return nil, 0, fmt.Errorf("version is %.40q, want %q: the receiver must not set a custom payload", m.Version, payloadVersion)
	}
	if m.Data == nil || len(m.Alerts) == 0 {
		return nil, 0, errors.New("it contains no alerts")
	}
	alerts = make([]rollback.Alert, len(m.Alerts))
	for i, a := range m.Alerts {
		if a.Status != "firing" && a.Status != "resolved" {
			return nil, 0, fmt.Errorf("alerts[%d].status is %.40q, want firing or resolved", i, a.Status)
		}
		if a.StartsAt.IsZero() || a.Fingerprint == "" || len(a.Labels) == 0 {
			return nil, 0, fmt.Errorf("alerts[%d] lacks labels, startsAt or fingerprint", i)
		}
		alerts[i] = rollback.Alert{
			Labels: a.Labels, Annotations: a.Annotations, Fingerprint: a.Fingerprint,
			StartsAt: a.StartsAt, Resolved: a.Status == "resolved", GeneratorURL: a.GeneratorURL, Route: receiverName(m.Receiver),
		}
	}
	return alerts, m.TruncatedAlerts, nil
}

// receiverName returns the name of the receiver, which Alertmanager quotes like a regular
// expression.
func receiverName(quoted string) string { return strings.ReplaceAll(quoted, `\`, "") }
