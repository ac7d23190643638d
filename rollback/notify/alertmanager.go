package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// The alerts that backout posts. They have no backout label, so that they never come
// back as signals.
const (
	alertRolledBack = "BackoutRolledBack"
	alertNeedsHelp  = "BackoutNeedsHelp"
)

// How long a posted alert fires. One about a closed record, which is not refreshed,
// fires for report.HelpGrace.
const (
	// refreshInterval is how often a lasting alert is posted again, and refreshGrace how
	// long it fires if backout dies.
	refreshInterval = time.Minute
	refreshGrace    = 5 * time.Minute
	// stormGrace is for a storm.
	stormGrace = 10 * time.Minute
)

// wasPosted is the message ID of alerts that Alertmanager has received.
const wasPosted = "posted"

// postedAlert is an alert of Alertmanager's API v2.
// https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
type postedAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// alertmanager posts alerts about records to one Alertmanager.
type alertmanager struct {
	url    string
	client *http.Client
}

// newAlertmanagerTransport sends the token and trusts the CAs of the configuration; it
// reads both files again when they change.
func newAlertmanagerTransport(c Config) (http.RoundTripper, error) {
	h := promconfig.HTTPClientConfig{EnableHTTP2: true, TLSConfig: promconfig.TLSConfig{CAFile: c.AlertmanagerCAFile}}
	if c.AlertmanagerTokenFile != "" {
		if _, err := os.Stat(c.AlertmanagerTokenFile); err != nil {
			return nil, fmt.Errorf("BACKOUT_ALERTMANAGER_TOKEN_FILE: %w", err)
		}
		h.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: c.AlertmanagerTokenFile}
	}
	t, err := promconfig.NewRoundTripperFromConfig(h, "alertmanager")
	if err != nil {
		return nil, fmt.Errorf("BACKOUT_ALERTMANAGER_CA_FILE: %w; name a file with PEM certificates", err)
	}
	return t, nil
}

func (a *alertmanager) deliver(ctx context.Context, r *report.Report, _ []report.Entry, messageID string) (string, error) {
	alerts := postedAlerts(r, time.Now(), messageID)
	if len(alerts) == 0 {
		return messageID, nil
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return messageID, fmt.Errorf("encode alerts: %w", err)
	}
	err = post(ctx, a.client, strings.TrimRight(a.url, "/")+"/api/v2/alerts", body, http.Header{"Content-Type": {"application/json"}})
	if errors.Is(err, errRefused) {
		err = fmt.Errorf("%w; check BACKOUT_ALERTMANAGER_URLS", err)
	}
	if err == nil {
		messageID = wasPosted
	}
	return messageID, err
}

// alertEntries selects the entries that begin or end an alert.
func alertEntries(r *report.Report) []report.Entry {
	_, rolledBack := r.First(report.EntryRolledBack)
	if _, requested := r.HelpRequested(); !requested && !rolledBack {
		return nil
	}
	return r.Outcomes()
}

// alertsLast reports whether the report's alerts have to be refreshed.
func alertsLast(r *report.Report) bool {
	_, rolledBack := r.First(report.EntryRolledBack)
	return !r.Closed && (rolledBack || r.NeedsHelp)
}

// postedAlerts returns the alerts of the report at that time; messageID is "" if none was
// posted before. An alert about a rollback fires for at least refreshGrace, so that
// Alertmanager's group_wait does not hide it.
func postedAlerts(r *report.Report, now time.Time, messageID string) []postedAlert {
	before := messageID != ""
	var alerts []postedAlert
	add := func(name string, start, end time.Time) {
		if end.Before(start) {
			end = start
		}
		alerts = append(alerts, postedAlert{
			Labels: alertLabels(r, name), StartsAt: start.UTC(), EndsAt: end.UTC(), GeneratorURL: r.Dashboard,
			Annotations: map[string]string{"summary": withoutMentions(r.Title), "description": withoutMentions(r.Text())},
		})
	}
	if back, ok := r.First(report.EntryRolledBack); ok {
		end := now.Add(refreshGrace)
		if r.Closed && before {
			end = rollback.Later(now, back.At.Add(refreshGrace))
		}
		add(alertRolledBack, back.At, end)
	}
	help, requested := r.HelpRequested()
	switch {
	case len(r.Releases) > 0:
		add(alertNeedsHelp, r.Opened, now.Add(stormGrace))
	case r.NeedsHelp && r.Closed:
		add(alertNeedsHelp, help.At, now.Add(report.HelpGrace))
	case r.NeedsHelp:
		add(alertNeedsHelp, help.At, now.Add(refreshGrace))
	case requested && before:
		add(alertNeedsHelp, help.At, now)
	}
	return alerts
}

// withoutMentions returns s without Slack's mentions: Alertmanager's own templates post
// annotations to Slack as they are.
func withoutMentions(s string) string {
	return strings.NewReplacer("<!", "<\u200b!", "<@", "<\u200b@", "<#", "<\u200b#").Replace(s)
}

func alertLabels(r *report.Report, name string) map[string]string {
	labels := map[string]string{"alertname": name, "severity": "warning"}
	if name == alertNeedsHelp {
		labels["severity"] = "critical"
	}
	for label, value := range map[string]string{"namespace": r.Namespace, "release": r.Release, "cluster": r.Cluster} {
		if value != "" {
			labels[label] = value
		}
	}
	if r.Revision > 0 {
		labels["revision"] = strconv.Itoa(r.Revision)
	}
	return labels
}
