package rollback_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// changed returns the labels with others in pairs; an empty value removes the label.
func changed(labels map[string]string, pairs ...string) map[string]string {
	c := maps.Clone(labels)
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = pairs[i+1]
		if pairs[i+1] == "" {
			delete(c, pairs[i])
		}
	}
	return c
}

// An alert that is refused because of what its sender has put into it says what to change there.
func TestARefusalSaysWhatToChange(t *testing.T) {
	labels := map[string]string{"alertname": "ShopCanary5xx", "backout": "rollback", "namespace": "shop", "release": "web"}
	exporter := changed(labels, "namespace", "ingress-nginx", "exported_namespace", "shop")
	shop := &rollback.Sender{Name: "token of shop", Namespaces: []string{"shop"}}
	for name, c := range map[string]struct {
		alert rollback.Alert
		want  rollback.IgnoreReason
		says  []string
	}{
		"the namespace of the exporter": {
			rollback.Alert{Labels: exporter},
			rollback.IgnoredNotAllowed,
			[]string{`namespace="ingress-nginx"`, `exported_namespace="shop"`, "honorLabels"},
		},
		"the namespace of the exporter, for which the sender may not speak": {
			rollback.Alert{Labels: exporter, Sender: shop}, rollback.IgnoredSender, []string{`exported_namespace="shop"`, "honorLabels"},
		},
		"another namespace": {
			rollback.Alert{Labels: changed(labels, "namespace", "ingress-nginx")}, rollback.IgnoredNotAllowed, []string{"add ingress-nginx/web to BACKOUT_RELEASES"},
		},
		"both namespaces, and the right one counts": {rollback.Alert{Labels: changed(labels, "exported_namespace", "other")}, "", nil},
		"Grafana has no data": {
			rollback.Alert{Labels: changed(labels, "alertname", "DatasourceNoData", "rulename", "ShopCanary5xx")},
			rollback.IgnoredNoData,
			[]string{"Grafana", "DatasourceNoData", "Normal"},
		},
		"Grafana cannot evaluate the rule": {
			rollback.Alert{Labels: changed(labels, "alertname", "DatasourceError", "rulename", "ShopCanary5xx")}, rollback.IgnoredNoData, []string{"DatasourceError"},
		},
		"a rule of Grafana fires without data": {
			rollback.Alert{Labels: labels, Annotations: map[string]string{"grafana_state_reason": "NoData"}}, rollback.IgnoredNoData, []string{"(NoData)"},
		},
		"a rule of Grafana fires on an error": {
			rollback.Alert{Labels: labels, Annotations: map[string]string{"grafana_state_reason": "Error, KeepLast"}}, rollback.IgnoredNoData, []string{"(Error, KeepLast)"},
		},
		"the end of an alert of Grafana": {
			rollback.Alert{Labels: labels, Resolved: true, Annotations: map[string]string{"grafana_state_reason": "NoData"}}, "", nil,
		},
		"a rule of that name": {rollback.Alert{Labels: changed(labels, "alertname", "DatasourceNoData")}, "", nil},
		"a watchdog that does not count": {
			rollback.Alert{Labels: map[string]string{"alertname": "BackoutWatchdog", "backout": "watchdog", "namespace": "other"}},
			rollback.IgnoredBadLabel,
			[]string{"watchdog", `"other"`, "opted-in"},
		},
	} {
		k, _, err := c.alert.Read(time.Now())
		reason, why := rollback.Policy{Releases: []string{"shop/*"}}.Refuse(c.alert, k, err)
		if reason != c.want {
			t.Errorf("%s: got %q, %q; want %q", name, reason, why, c.want)
		}
		for _, text := range c.says {
			if !strings.Contains(why, text) {
				t.Errorf("%s: the reason does not say %q: %s", name, text, why)
			}
		}
	}
}
