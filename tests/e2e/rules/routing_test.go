package rules_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

type object = map[string]any

// routing writes a copy of alertmanager.yml with receivers that post to the webhook of the test, and a token file that exists. It
// returns the copy's path.
func routing(t *testing.T, s *sandbox.Sandbox, token string) string {
	t.Helper()
	var config object
	if err := yaml.Unmarshal([]byte(text(t, "alertmanager.yml")), &config); err != nil {
		t.Fatal(err)
	}
	tokenFile := filepath.Join(s.Dir(), "backout-token")
	write(t, tokenFile, []byte(token))
	for _, r := range config["receivers"].([]any) {
		receiver := r.(object)
		if receiver["name"] == "team" {
			receiver["webhook_configs"] = []object{{"url": "http://" + webhookAddress + "/team"}}
			continue
		}
		if receiver["name"] == "null" {
			continue
		}
		webhook := receiver["webhook_configs"].([]any)[0].(object)
		webhook["url"] = "http://" + webhookAddress + "/backout"
		webhook["http_config"].(object)["authorization"].(object)["credentials_file"] = tokenFile
	}
	b, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.Dir(), "routing.yml")
	write(t, file, b)
	return file
}

// An HA pair of real Alertmanagers with the shipped routing: alerts for backout reach it at once, with the token, in one group for each
// episode, and only once from both; the team is notified as before.
func TestRoutingOfAnHAPair(t *testing.T) {
	t.Parallel()
	s := sandbox.Start(t)
	start(t, s, "webhook", role+"=webhook")
	file := routing(t, s, "plum")
	first, err := s.Alertmanager(t.Context(), sandbox.AlertmanagerOptions{Config: file, Port: 9093, GossipPort: 9094})
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Alertmanager(t.Context(), sandbox.AlertmanagerOptions{
		Name: "second", Config: file, Port: 9193, GossipPort: 9194, Peers: []*sandbox.Alertmanager{first},
	})
	if err != nil {
		t.Fatal(err)
	}
	alert := func(version, release string) map[string]string {
		return map[string]string{
			"alertname": "CanaryErrorRatio", "backout": "rollback", "severity": "critical",
			"namespace": "shop", "release": release, "app": "shop", "track": "canary", "version": version,
		}
	}
	others := map[string]string{"alertname": "BothTracksFail", "severity": "warning", "namespace": "shop", "release": "shop"}
	watchdog := map[string]string{"alertname": "BackoutWatchdog", "backout": "watchdog", "severity": "none", "namespace": "shop"}
	alerts := []sandbox.Alert{
		{Labels: alert("v3", "shop")},
		{Labels: alert("v4", "shop")},
		{Labels: alert("v3", "cart")},
		{Labels: others},
		{Labels: watchdog},
	}
	fired := time.Now()
	for _, am := range []*sandbox.Alertmanager{first, second} {
		if err := am.Fire(t.Context(), alerts...); err != nil {
			t.Fatal(err)
		}
	}
	// The team is notified of all four alerts after the default group_wait of 30 seconds. A duplicate delivery to backout, which the
	// peer would send after 15 seconds, would have come before that.
	var all []delivery
	eventually(t, func() (err error) {
		if all, err = deliveries(t, s); err == nil && len(delivered(t, all, "/team")) < 4 {
			err = fmt.Errorf("the team is not notified of all alerts: %v", delivered(t, all, "/team"))
		}
		return err
	})
	if team := delivered(t, all, "/team"); len(team) != 4 {
		t.Errorf("the team was notified of %q; want the four alerts, and not the watchdog", team)
	}
	want := []string{"BackoutWatchdog", "CanaryErrorRatio cart v3", "CanaryErrorRatio shop v3", "CanaryErrorRatio shop v4"}
	if got := delivered(t, all, "/backout"); !slices.Equal(got, want) {
		t.Errorf("backout received %q, want %q: each alert in a group of its own, and once", got, want)
	}
	for _, d := range all {
		if d.Path != "/backout" {
			continue
		}
		if d.Token != "plum" {
			t.Errorf("the token is %q, want the file's", d.Token)
		}
		if late := d.At.Sub(fired); late > 5*time.Second {
			t.Errorf("backout received the alert %s after it fired, want at once", late)
		}
		t.Logf("backout received the alert %s after it fired", d.At.Sub(fired))
	}
}

// delivered returns the alerts that a receiver got, sorted.
func delivered(t *testing.T, all []delivery, path string) []string {
	t.Helper()
	var found []string
	for _, d := range all {
		if d.Path != path {
			continue
		}
		var payload struct {
			Alerts []struct {
				Status string
				Labels map[string]string
			}
		}
		if err := json.Unmarshal(d.Body, &payload); err != nil {
			t.Fatal(err)
		}
		for _, a := range payload.Alerts {
			found = append(found, strings.TrimSpace(a.Labels["alertname"]+" "+a.Labels["release"]+" "+a.Labels["version"]))
		}
	}
	slices.Sort(found)
	return found
}

// alertmanagerconfig.yml is the same configuration as alertmanager.yml, in the operator's spelling.
func TestTheOperatorsRoutingIsTheSame(t *testing.T) {
	var plain, operator object
	for name, into := range map[string]*object{"alertmanager.yml": &plain, "alertmanagerconfig.yml": &operator} {
		if err := yaml.Unmarshal([]byte(text(t, name)), into); err != nil {
			t.Fatal(err)
		}
	}
	if operator["apiVersion"] != "monitoring.coreos.com/v1alpha1" || operator["kind"] != "AlertmanagerConfig" {
		t.Errorf("it is a %v of %v", operator["kind"], operator["apiVersion"])
	}
	spec := operator["spec"].(object)
	theirs := spec["route"].(object)
	ours := plain["route"].(object)["routes"].([]any)[0].(object)
	matcher := theirs["matchers"].([]any)[0].(object)
	theirs["matchers"] = []any{fmt.Sprintf("%s %s %q", matcher["name"], matcher["matchType"], matcher["value"])}
	same(t, "route", ours, theirs)
	receiver := plain["receivers"].([]any)[1].(object)["webhook_configs"].([]any)[0].(object)
	webhook := spec["receivers"].([]any)[0].(object)["webhookConfigs"].([]any)[0].(object)
	// The token is in a file for Alertmanager, and in a Secret for the operator.
	delete(receiver["http_config"].(object)["authorization"].(object), "credentials_file")
	delete(webhook["httpConfig"].(object)["authorization"].(object), "credentials")
	same(t, "webhook", receiver, webhook)
}

// same compares a mapping in Alertmanager's spelling with one in the operator's.
func same(t *testing.T, what string, ours, theirs object) {
	t.Helper()
	if spelt := camel(ours); !reflect.DeepEqual(spelt, any(theirs)) {
		t.Errorf("%s: alertmanager.yml has %v, alertmanagerconfig.yml %v", what, spelt, theirs)
	}
}

// camel returns a mapping with its keys in the operator's spelling.
func camel(v any) any {
	m, ok := v.(object)
	if !ok {
		return v
	}
	spelt := object{}
	for key, value := range m {
		parts := strings.Split(key, "_")
		for i, part := range parts[1:] {
			parts[i+1] = strings.ToUpper(part[:1]) + part[1:]
		}
		spelt[strings.Join(parts, "")] = camel(value)
	}
	return spelt
}
