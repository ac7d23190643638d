package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// An explanation says who confirmed an alert, and that an alert was believed.
func TestAnExplanationNamesTheServersThatConfirm(t *testing.T) {
	for confirm, want := range map[rollback.ConfirmBy][]string{
		"":                        {"Prometheus says that it fires", "its expression in Prometheus", "Alertmanager says that it is over"},
		rollback.ConfirmByGrafana: {"Grafana says that it fires", "its expression in Grafana", "Grafana says that it is over"},
		rollback.ConfirmByNone:    {"backout believes its sender, as BACKOUT_TOKENS says", "Alertmanager says that it is over"},
	} {
		now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
		s := rollback.Signal{Alert: "A", Level: rollback.LevelShed, Confirm: confirm, StartsAt: now, Received: now, Resolved: now.Add(time.Minute), Link: "http://a/b"}
		if confirm != rollback.ConfirmByNone {
			s.Confirmation = &rollback.Confirmation{Answer: rollback.AnswerFiring}
		}
		got := report.Explain(rollback.Record{Opened: now, Signals: []rollback.Signal{s}}).String()
		for _, text := range want {
			if !strings.Contains(got, text) {
				t.Errorf("confirmed by %q: no %q in\n%s", confirm, text, got)
			}
		}
	}
}
