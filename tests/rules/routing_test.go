package rules_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/tests/sandbox"
)

type object = map[string]any

// routing writes alertmanager.yml anew, with receivers that post to the webhook of the test and a token that is there, and returns the
// file's path.
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
		if receiver["name"] == "people" {
			receiver["webhook_configs"] = []object{{"url": "http://" + webhookAddress + "/people"}}
			continue
		}
		if receiver["name"] == "nobody" {
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

// An HA pair of real Alertmanagers with the routing as it is shipped: what is for backout comes to it at once, with the token, one
// group for one accusation and once of both; people are told as before.
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
	accusation := func(version, release string) map[string]string {
		return map[string]string{
			"alertname": "CanaryErrorRatio", "backout": "rollback", "severity": "critical",
			"namespace": "shop", "release": release, "app": "shop", "track": "canary", "version": version,
		}
	}
	others := map[string]string{"alertname": "BothTracksFail", "severity": "warning", "namespace": "shop", "release": "shop"}
	watchdog := map[string]string{"alertname": "BackoutWatchdog", "backout": "watchdog", "severity": "none", "namespace": "shop"}
	alerts := []sandbox.Alert{
		{Labels: accusation("v3", "shop")},
		{Labels: accusation("v4", "shop")},
		{Labels: accusation("v3", "cart")},
		{Labels: others},
		{Labels: watchdog},
	}
	fired := time.Now()
	for _, am := range []*sandbox.Alertmanager{first, second} {
		if err := am.Fire(t.Context(), alerts...); err != nil {
			t.Fatal(err)
		}
	}
	// People are told of all four, by the route's own group_wait of 30 seconds. By then a second delivery of the first three, which
	// the peer waits 15 seconds with, has come too if it ever does.
	var all []delivery
	eventually(t, func() (err error) {
		if all, err = deliveries(t, s); err == nil && len(told(t, all, "/people")) < 4 {
			err = fmt.Errorf("people are not told of everything: %v", told(t, all, "/people"))
		}
		return err
	})
	if people := told(t, all, "/people"); len(people) != 4 {
		t.Errorf("people were told %q; want the four alerts, and not the watchdog", people)
	}
	want := []string{"BackoutWatchdog", "CanaryErrorRatio cart v3", "CanaryErrorRatio shop v3", "CanaryErrorRatio shop v4"}
	if got := told(t, all, "/backout"); !slices.Equal(got, want) {
		t.Errorf("backout was told %q, want %q: each accusation by itself, and once", got, want)
	}
	for _, d := range all {
		if d.Path != "/backout" {
			continue
		}
		if d.Token != "plum" {
			t.Errorf("the token is %q, not the file's", d.Token)
		}
		if late := d.At.Sub(fired); late > 5*time.Second {
			t.Errorf("backout was told %s after the alert fired: not at once", late)
		}
		t.Logf("backout was told %s after the alert fired", d.At.Sub(fired))
	}
}

// told returns the firing alerts that a receiver was told of, sorted.
func told(t *testing.T, all []delivery, path string) []string {
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

// alertmanagerconfig.yml says the same as alertmanager.yml, in the operator's spelling.
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
	// Where the token is differs: a file of Alertmanager's, or a Secret that the operator hands to it.
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

// camel spells the keys of mappings as the operator does.
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

// What the README shows is what alertmanager.yml has.
func TestTheReadmesRoutingIsTheSame(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "```yaml\nroute:\n")
	shown, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		return // it shows none
	}
	var readme, file object
	if err := yaml.Unmarshal([]byte("route:\n"+shown), &readme); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(text(t, "alertmanager.yml")), &file); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(readme, file) {
		t.Errorf("README.md shows %v, rules/alertmanager.yml has %v", readme, file)
	}
}
