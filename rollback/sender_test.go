package rollback_test

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// An alert about a namespace that its sender may not speak for is refused, however right it
// is otherwise; a record names the sender.
func TestASenderSpeaksForItsNamespacesAlone(t *testing.T) {
	policy := rollback.Policy{Releases: []string{"shop/*", "payments/*"}}
	for _, c := range []struct {
		namespaces []string
		want       rollback.IgnoreReason
	}{
		{[]string{"shop"}, ""},
		{[]string{"payments", "shop"}, ""},
		{[]string{rollback.AllNamespaces}, ""},
		{[]string{"payments"}, rollback.IgnoredSender},
		{[]string{"shopping", "sho", ""}, rollback.IgnoredSender},
		{nil, rollback.IgnoredSender},
	} {
		alert := rollback.Alert{
			Labels: map[string]string{"backout": "rollback", "namespace": "shop", "release": "web", "alertname": "Errors"},
			Sender: &rollback.Sender{Name: "token of \x1b[2Jshop", Namespaces: c.namespaces},
		}
		k, s, err := alert.Read(time.Now())
		reason, why := policy.Refuse(alert, k, err)
		if reason != c.want || (reason != "" && (!strings.Contains(why, "namespace shop") || !strings.Contains(why, "BACKOUT_TOKENS"))) {
			t.Errorf("a sender for %q: got %q, %q; want %q", c.namespaces, reason, why, c.want)
		}
		if strings.ContainsRune(s.Sender+why, '\x1b') || !strings.Contains(s.Sender, "token of") {
			t.Errorf("the signal names the sender in printable text: got %q", s.Sender)
		}
	}
	if reason, why := policy.Refuse(rollback.Alert{}, rollback.Key{Namespace: "shop", Release: "web"}, nil); reason != "" {
		t.Errorf("without authentication every sender may post: got %q, %q", reason, why)
	}
}
