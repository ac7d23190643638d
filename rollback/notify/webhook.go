package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/upcommerce/backout/rollback/report"
)

// SignatureHeader contains "sha256=" and the HMAC-SHA256 of the body in hex.
const SignatureHeader = "Backout-Signature"

// Event is a CloudEvent in structured JSON, one for each entry of a record's timeline.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
type Event struct {
	SpecVersion string `json:"specversion"`
	// ID is the same whenever the same entry is sent again.
	ID string `json:"id"`
	// Source is backout, with the cluster if it has a name.
	Source string `json:"source"`
	// Type is "dev.backout." and the entry's kind.
	Type string `json:"type"`
	// Subject is namespace/release/revision, or "storm".
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        EventData `json:"data"`
}

// EventData is what happened, and the whole report at that time or later.
type EventData struct {
	Entry  report.Entry  `json:"entry"`
	Report report.Report `json:"report"`
}

// webhook posts CloudEvents. It signs them if there is a secret.
type webhook struct {
	url    string
	secret string
	client *http.Client
}

func (w *webhook) deliver(ctx context.Context, r *report.Report, entries []report.Entry, messageID string) (string, error) {
	var key string
	if w.secret != "" {
		var err error
		if key, err = secret(w.secret); err != nil {
			return messageID, err
		}
	}
	for _, e := range entries {
		body, err := json.Marshal(newEvent(r, e))
		if err != nil {
			return messageID, fmt.Errorf("encode an event: %w", err)
		}
		header := http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}
		if key != "" {
			header.Set(SignatureHeader, Sign([]byte(key), body))
		}
		if err := post(ctx, w.client, w.url, body, header); err != nil {
			return messageID, err
		}
	}
	return messageID, nil
}

// Sign returns the value of SignatureHeader for the body.
func Sign(key, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(body) // it never fails
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func newEvent(r *report.Report, e report.Entry) Event {
	source := "backout"
	if r.Cluster != "" {
		source += "/" + r.Cluster
	}
	subject := r.Key().String() + "/" + strconv.Itoa(r.Revision)
	if r.Record == "" {
		subject = string(report.EntryStorm)
	}
	return Event{
		SpecVersion: "1.0", ID: subject + "/" + strconv.FormatInt(r.Opened.UnixMilli(), 10) + "/" + e.Key,
		Source: source, Type: "dev.backout." + string(e.Kind), Subject: subject, Time: e.At.UTC(),
		ContentType: "application/json", Data: EventData{Entry: e, Report: *r},
	}
}
