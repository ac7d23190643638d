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
)

// The alerts that backout posts. They carry no backout label, so that they never
// come back to it.
const (
	alertRolledBack = "BackoutRolledBack"
	alertNeedsHelp  = "BackoutNeedsHelp"
)

// How long the posted alerts are good for.
const (
	// refreshInterval is how often what lasts is posted again, and refreshGrace how
	// long it stays if backout dies.
	refreshInterval = time.Minute
	refreshGrace    = 5 * time.Minute
	// helpGrace is for what nobody refreshes, because its record is closed.
	helpGrace = 4 * time.Hour
	// stormGrace is for a storm.
	stormGrace = 10 * time.Minute
)

// wasPosted is the place of what Alertmanager knows of.
const wasPosted = "posted"

// posted is an alert of Alertmanager's API v2.
// https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
type posted struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// alertmanager posts alerts about what backout did to one Alertmanager.
type alertmanager struct {
	url    string
	client *http.Client
}

// newAlertmanagerTransport presents the token and trusts the CAs of the
// configuration; both files are re-read when they change.
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

func (a *alertmanager) deliver(ctx context.Context, r *Report, _ []Line, place string) (string, error) {
	alerts := r.posted(time.Now(), place)
	if len(alerts) == 0 {
		return place, nil
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return place, fmt.Errorf("encode alerts: %w", err)
	}
	err = post(ctx, a.client, strings.TrimRight(a.url, "/")+"/api/v2/alerts", body, http.Header{"Content-Type": {"application/json"}})
	if errors.Is(err, errRefused) {
		err = fmt.Errorf("%w; look at BACKOUT_ALERTMANAGER_URLS", err)
	}
	if err == nil {
		place = wasPosted
	}
	return place, err
}

// alerting has told what an alert stands for, or what ends one.
func alerting(r *Report) []Line {
	_, back := r.first(RolledBack)
	if _, ever := r.asked(); !ever && !back {
		return nil
	}
	return r.Outcomes()
}

// lasting reports whether the report's alerts have to be refreshed.
func lasting(r *Report) bool {
	_, back := r.first(RolledBack)
	return !r.Over && (back || r.Help)
}

// posted returns the alerts that stand for the report at that time; place is "" if
// none was posted before. An alert stays for refreshGrace at least, so that
// Alertmanager's group_wait does not swallow it.
func (r *Report) posted(now time.Time, place string) []posted {
	before := place != ""
	var alerts []posted
	add := func(name string, start, end time.Time) {
		if end.Before(start) {
			end = start
		}
		alerts = append(alerts, posted{
			Labels: r.labels(name), StartsAt: start.UTC(), EndsAt: end.UTC(), GeneratorURL: r.Dashboard,
			Annotations: map[string]string{"summary": r.Title, "description": r.Text()},
		})
	}
	if back, ok := r.first(RolledBack); ok {
		end := now.Add(refreshGrace)
		if r.Over && before {
			end = later(now, back.At.Add(refreshGrace))
		}
		add(alertRolledBack, back.At, end)
	}
	asked, ever := r.asked()
	switch {
	case len(r.Releases) > 0:
		add(alertNeedsHelp, r.Opened, now.Add(stormGrace))
	case r.Help && r.Over:
		add(alertNeedsHelp, asked.At, now.Add(helpGrace))
	case r.Help:
		add(alertNeedsHelp, asked.At, now.Add(refreshGrace))
	case ever && before:
		add(alertNeedsHelp, asked.At, now)
	}
	return alerts
}

func (r *Report) labels(name string) map[string]string {
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

// first returns the first line about that.
func (r *Report) first(w Word) (Line, bool) {
	for _, l := range r.Story {
		if l.Word == w {
			return l, true
		}
	}
	return Line{}, false
}

// asked returns when a person's help was first asked for, if it ever was.
func (r *Report) asked() (Line, bool) {
	for _, l := range r.Story {
		if l.Help {
			return l, true
		}
	}
	return Line{At: r.at()}, false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
