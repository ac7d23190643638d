package rollback_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// The forms of the sections. Times are ages: durations before now.
type (
	revisionForm struct {
		Rev         int
		UID         string
		Status      string
		Age         string
		Content     string
		Canary      string
		Pods        []string
		Versions    []string
		Unreadable  string
		Description string
		Chart       string
		Claim       string
		Owner       rollback.Owner
	}
	alertForm struct {
		// Alert is CanaryErrors if it is empty, which looks back BACKOUT_SETTLE.
		Alert    string
		Level    string
		Began    string
		Received string
		Episode  string
		Version  string
		Revision int
		Resolved string
		// Confirm says who confirms it; Prometheus is the answer, Since is since when it reports the alert as active, and
		// FiresAs is the level with which it fires there.
		Confirm    rollback.ConfirmBy
		Prometheus string
		Since      string
		FiresAs    rollback.Level `json:"firesAs"`
		// Now is Prometheus' answer about the present moment, and Evidence how far its rule
		// looks back now.
		Now, Evidence string
	}
	recordForm struct {
		Rev             int
		UID             string
		Content         string
		Episode         string
		Began           string
		Shed, Rollback  string
		Made            int
		Verdict         string
		Reason          string
		Hold            string
		Lifted          string
		PreflightTarget int
		Dangers         []rollback.Danger
		Owner           rollback.Owner
	}
	policyForm struct {
		Mode  string
		Allow []rollback.DangerKind
	}
	// clusterForm is the rest of the cluster: a pause, the other releases with signals,
	// the canary's weight, and the effect of a shed on the stable pods.
	clusterForm struct {
		Paused   string
		Others   int
		Over     string
		Weight   string
		Load     float64
		NoStable string
		Owner    rollback.Owner
		// Serving is since when the newest content's own pods serve.
		Serving string
	}
)

func readCase(t *testing.T, archive *txtar.Archive) rollback.Case {
	t.Helper()
	var history []revisionForm
	var alerts []alertForm
	var records []recordForm
	var settings policyForm
	var cluster clusterForm
	for name, into := range map[string]any{
		"history": &history, "alerts": &alerts, "records": &records, "policy": &settings, "cluster": &cluster,
	} {
		if err := yaml.UnmarshalStrict([]byte(rollbacktest.Section(archive, name)), into); err != nil {
			t.Fatalf("section %s: %v", name, err)
		}
	}
	c := rollback.Case{Key: rollbacktest.Shop(), Policy: rollbacktest.Policy(), Now: rollbacktest.Now(), Paused: cluster.Paused}
	c.Policy.Mode = rollback.Mode(or(settings.Mode, string(rollback.ModeAct)))
	c.Policy.Allow = settings.Allow
	c.Serving, c.Asks, c.Present = before(t, or(cluster.Serving, "never")), cluster.Serving != "", make(map[rollback.Episode]rollback.Confirmation)
	c.Storm = rollback.Storm{Others: cluster.Others, Over: before(t, or(cluster.Over, "never"))}
	if cluster.Weight != "" {
		c.Routing = &rollback.Routing{
			Weights:  []rollback.Weight{{From: cluster.Weight, To: cluster.Weight}},
			NoStable: cluster.NoStable, Load: cluster.Load, Owner: cluster.Owner,
		}
	}
	for _, r := range history {
		c.History = append(c.History, rollback.Revision{
			Number: r.Rev, UID: or(r.UID, fmt.Sprintf("uid-%d", r.Rev)), Status: rollback.Status(r.Status),
			Deployed: before(t, r.Age), Content: r.Content, Canary: r.Canary, Pods: r.Pods, Versions: r.Versions, Unreadable: r.Unreadable, Description: r.Description,
			Chart: or(r.Chart, "canary-demo"), Claim: r.Claim, Owner: r.Owner,
		})
	}
	for _, r := range records {
		c.Records = append(c.Records, r.read(t))
	}
	for _, a := range alerts {
		s := a.read(t)
		if c.Signals = append(c.Signals, s); a.Now != "" {
			c.Present[s.Episode()] = rollback.Confirmation{Answer: rollback.Answer(a.Now), EvidenceFrom: before(t, or(a.Evidence, "never"))}
		}
	}
	return c
}

func (r recordForm) read(t *testing.T) rollback.Record {
	t.Helper()
	rec := rollback.Record{
		Key: rollbacktest.Shop(), Revision: r.Rev, UID: or(r.UID, fmt.Sprintf("uid-%d", r.Rev)), Content: r.Content, Made: r.Made,
		Signals: []rollback.Signal{{Fingerprint: or(r.Episode, "e1"), StartsAt: before(t, or(r.Began, "0s"))}},
		Decisions: []rollback.Decision{{
			Verdict: rollback.Verdict(or(r.Verdict, "act")), Shed: true, Reason: r.Reason, Hold: r.Hold != "",
		}},
		PreflightTarget: r.PreflightTarget, Dangers: r.Dangers, Owner: r.Owner,
	}
	if r.Shed != "" {
		rec.Shed = &rollback.Step{Started: before(t, r.Shed), Done: before(t, r.Shed)}
	}
	if r.Rollback != "" {
		rec.Rollback = &rollback.Step{Started: before(t, r.Rollback), Done: before(t, r.Rollback)}
	}
	if r.Hold != "" {
		rec.Hold = &rollback.Hold{Since: before(t, r.Hold)}
	}
	if r.Lifted != "" {
		rec.Hold.Lifted = true
		rec.Hold.Ended, rec.Hold.Reason = before(t, r.Lifted), "an operator gave the canary the weight 20"
	}
	return rec
}

func (a alertForm) read(t *testing.T) rollback.Signal {
	t.Helper()
	signal := rollback.Signal{
		Alert: or(a.Alert, "CanaryErrors"), Level: rollback.Level(a.Level), Fingerprint: or(a.Episode, "e1"),
		StartsAt: before(t, a.Began), Version: a.Version, Revision: a.Revision, Confirm: a.Confirm, Received: before(t, or(a.Received, "0s")),
		Resolved: before(t, or(a.Resolved, "never")),
	}
	if a.Prometheus != "" {
		signal.Confirmation = &rollback.Confirmation{Answer: rollback.Answer(a.Prometheus), ActiveSince: before(t, or(a.Since, "never")), Level: a.FiresAs}
		switch signal.Confirmation.Answer {
		case rollback.AnswerUnknown:
			signal.Confirmation.Error = "dial tcp: connection refused"
		case rollback.AnswerUnproven:
			signal.Confirmation.Error = "no server in BACKOUT_PROMETHEUS_URLS has an alert rule named CanaryErrors"
		case rollback.AnswerFiring, rollback.AnswerQuiet:
		}
	}
	return signal
}

// before returns the time that is age before now; the zero time for "never".
func before(t *testing.T, age string) time.Time {
	t.Helper()
	if age == "never" {
		return time.Time{}
	}
	d, err := time.ParseDuration(age)
	if err != nil {
		t.Fatalf("age %q: %v", age, err)
	}
	return rollbacktest.Now().Add(-d)
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
