package monitoring

import (
	"fmt"
	"time"

	"sigs.k8s.io/yaml"
)

// Alertmanager is the configuration of an Alertmanager that posts all alerts to a backout.
// It groups alerts as backout's rules recommend: each release, revision and alert has a
// notification of its own.
type Alertmanager struct {
	// WebhookURL is the URL that alerts are posted to; "": none.
	WebhookURL string
	// TokenFile holds the bearer token for the webhook; "": none.
	TokenFile string
	// GroupWait is 0, GroupInterval 1s and RepeatInterval 5m unless set.
	GroupWait, GroupInterval, RepeatInterval time.Duration
}

// YAML returns the configuration file.
func (a Alertmanager) YAML() ([]byte, error) {
	receiver := object{"name": "backout"}
	if a.WebhookURL != "" {
		webhook := object{"url": a.WebhookURL, "send_resolved": true, "max_alerts": 0, "timeout": "10s"}
		if a.TokenFile != "" {
			webhook["http_config"] = object{"authorization": object{"type": "Bearer", "credentials_file": a.TokenFile}}
		}
		receiver["webhook_configs"] = []object{webhook}
	}
	b, err := yaml.Marshal(object{
		"route": object{
			"receiver":        "backout",
			"group_by":        []string{"cluster", "namespace", "release", "alertname", "version", "backout"},
			"group_wait":      a.GroupWait.String(),
			"group_interval":  orDefault(a.GroupInterval, time.Second).String(),
			"repeat_interval": orDefault(a.RepeatInterval, 5*time.Minute).String(),
		},
		"receivers": []object{receiver},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the configuration of Alertmanager: %w", err)
	}
	return b, nil
}
