package notify

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback/notify/slacktest"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

func TestSecretsAreNotLogged(t *testing.T) {
	answers := map[string]http.Handler{
		"refused": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Error(w, "no such hook: "+q.URL.String(), http.StatusNotFound)
		}),
		"broken": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			http.Error(w, "cannot serve "+q.URL.Path, http.StatusBadGateway)
		}),
		"redirected": http.RedirectHandler("https://elsewhere.example/very-secret", http.StatusFound),
		"auth":       &slacktest.Server{Token: "another", HookPath: "/other"},
		"slow":       nil,
		"dead":       nil,
	}
	for name, answer := range answers {
		synctest.Test(t, func(t *testing.T) {
			hosts := &network{hosts: map[string]http.Handler{}, dead: map[string]bool{}}
			for _, host := range []string{"hooks.example", "slack.example", "generic.example", "am.example"} {
				if answer != nil {
					hosts.hosts[host] = answer
				}
				hosts.dead[host] = name == "dead"
			}
			n := newTestNotifier(t, Config{
				SlackWebhookFile: file(t, hookURL), SlackTokenFile: file(t, botToken), SlackChannel: "C1",
				WebhookURL: "https://user:very-secret@generic.example/very-secret", WebhookSecretFile: file(t, "very-secret"),
				AlertmanagerURLs: []string{"https://user:very-secret@am.example"},
			}, hosts, &memoryLedger{})
			n.start(t)
			n.ledger.put(t, actingSince(time.Now(), reporttest.RolledBack))
			time.Sleep(time.Minute)
			synctest.Wait()
			if n.log.Len() == 0 {
				t.Errorf("%s: a failed delivery is logged", name)
			}
			if strings.Contains(n.log.String(), "very-secret") {
				t.Errorf("%s: the log contains a secret:\n%s", name, n.log)
			}
		})
	}
}
