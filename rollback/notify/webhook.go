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
)

// SignatureHeader carries "sha256=" and the HMAC-SHA256 of the body in hex.
const SignatureHeader = "Backout-Signature"

// Event is a CloudEvent in structured JSON, one per line of a record's story.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
type Event struct {
	SpecVersion string `json:"specversion"`
	// ID is the same whenever the same line is sent again.
	ID string `json:"id"`
	// Source is backout, with the cluster if it has a name.
	Source string `json:"source"`
	// Type is dev.backout. and the line's word.
	Type string `json:"type"`
	// Subject is namespace/release/revision.
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        EventData `json:"data"`
}

// EventData is what happened, and the whole report as of then or later.
type EventData struct {
	Line   Line   `json:"line"`
	Report Report `json:"report"`
}

// webhook posts CloudEvents, signed if there is a secret.
type webhook struct {
	url    string
	secret string
	client *http.Client
}

func (w *webhook) deliver(ctx context.Context, r *Report, news []Line, place string) (string, error) {
	var key string
	if w.secret != "" {
		var err error
		if key, err = secret(w.secret); err != nil {
			return place, err
		}
	}
	for _, l := range news {
		body, err := json.Marshal(eventOf(r, l))
		if err != nil {
			return place, fmt.Errorf("encode an event: %w", err)
		}
		header := http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}
		if key != "" {
			header.Set(SignatureHeader, Sign([]byte(key), body))
		}
		if err := post(ctx, w.client, w.url, body, header); err != nil {
			return place, err
		}
	}
	return place, nil
}

// Sign returns what SignatureHeader carries for the body.
func Sign(key, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(body) // it never fails
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func eventOf(r *Report, l Line) Event {
	source := "backout"
	if r.Cluster != "" {
		source += "/" + r.Cluster
	}
	subject := r.Key().String() + "/" + strconv.Itoa(r.Revision)
	if r.Record == "" {
		subject = string(Storm)
	}
	return Event{
		SpecVersion: "1.0", ID: subject + "/" + strconv.FormatInt(r.Opened.UnixMilli(), 10) + "/" + l.Key,
		Source: source, Type: "dev.backout." + string(l.Word), Subject: subject, Time: l.At.UTC(),
		ContentType: "application/json", Data: EventData{Line: l, Report: *r},
	}
}
