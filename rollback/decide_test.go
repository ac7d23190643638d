package rollback_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// now is the time of every scenario; ages in the files count back from it.
func now() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }

// TestDecide runs the scenarios in testdata/decide. Each file tells one story:
// its comment says what happens and why, then come the facts, then the decision and
// its grounds, as people are told them. UPDATE=1 rewrites both.
func TestDecide(t *testing.T) {
	files, err := filepath.Glob("testdata/decide/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := readCase(t, archive)
			decision, grounds := rollback.Deliberate(c)
			got, why := tell(decision), tellGrounds(grounds)
			if other := rollback.Decide(c); other != decision {
				t.Errorf("who asks why gets the same decision: %v, not %v", decision, other)
			}
			if os.Getenv("UPDATE") != "" {
				setSection(archive, "decision", got)
				setSection(archive, "grounds", why)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(section(archive, "decision"), got); diff != "" {
				t.Errorf("%s\nthe decision is another one (-want +got):\n%s", archive.Comment, diff)
			}
			if diff := cmp.Diff(section(archive, "grounds"), why); diff != "" {
				t.Errorf("%s\nthe grounds are told in another way (-want +got):\n%s", archive.Comment, diff)
			}
		})
	}
}

func tell(d rollback.Decision) string {
	var b strings.Builder
	var notes []string
	fmt.Fprintf(&b, "verdict: %s\nshed: %t\nrollback: %t\n", d.Verdict, d.Shed, d.Rollback)
	if d.Target != 0 {
		fmt.Fprintf(&b, "target: %d\n", d.Target)
	}
	if !d.Again.IsZero() {
		fmt.Fprintf(&b, "again: in %s\n", d.Again.Sub(now()))
	}
	for word, said := range map[string]bool{"hold": d.Hold, "people": d.People, "waits": d.Waits} {
		if said {
			notes = append(notes, word)
		}
	}
	if slices.Sort(notes); len(notes) > 0 {
		fmt.Fprintf(&b, "then: %s\n", strings.Join(notes, ", "))
	}
	fmt.Fprintf(&b, "reason: %s\n", d.Reason)
	if d.Do != "" {
		fmt.Fprintf(&b, "do: %s\n", d.Do)
	}
	return b.String()
}

// The forms of the sections. Ages are durations before now.
type (
	revisionForm struct {
		Rev         int
		UID         string
		Status      string
		Age         string
		Content     string
		Versions    []string
		Description string
		Chart       string
		Claim       string
		Owner       rollback.Owner
	}
	alertForm struct {
		Level    string
		Began    string
		Received string
		Episode  string
		Version  string
		Revision int
		Resolved string
		// Prometheus is its answer, Since since when it says the alert is active.
		Prometheus string
		Since      string
	}
	recordForm struct {
		Rev            int
		UID            string
		Content        string
		Episode        string
		Began          string
		Shed, Rollback string
		Made           int
		Verdict        string
		Reason         string
		Hold           string
		Lifted         string
		Checked        int
		Dangers        []rollback.Danger
		Owner          rollback.Owner
	}
	policyForm struct {
		Mode  string
		Allow []rollback.DangerKind
	}
	// clusterForm is what else is known of the cluster: the canary's weight and what
	// a shed would do to the stable pods, other accused releases, a pause.
	clusterForm struct {
		Paused   string
		Others   int
		Over     string
		Weight   string
		Load     float64
		NoStable string
		Owner    rollback.Owner
	}
)

func tellGrounds(g rollback.Grounds) string {
	var b strings.Builder
	for _, l := range g.Looked {
		fmt.Fprintf(&b, "%s: %s\n", l.What, l.Found)
	}
	for _, c := range g.Candidates {
		fmt.Fprintf(&b, "back to %d: %s\n", c.Revision, or(c.Why, "yes"))
	}
	return b.String()
}

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
		if err := yaml.UnmarshalStrict([]byte(section(archive, name)), into); err != nil {
			t.Fatalf("section %s: %v", name, err)
		}
	}
	c := rollback.Case{Key: shop(), Policy: policy(), Now: now(), Paused: cluster.Paused}
	c.Policy.Mode = rollback.Mode(or(settings.Mode, string(rollback.ModeAct)))
	c.Policy.Allow = settings.Allow
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
			Deployed: before(t, r.Age), Content: r.Content, Versions: r.Versions, Description: r.Description,
			Chart: or(r.Chart, "canary-demo"), Claim: r.Claim, Owner: r.Owner,
		})
	}
	for _, r := range records {
		c.Records = append(c.Records, r.read(t))
	}
	for _, a := range alerts {
		c.Accusations = append(c.Accusations, a.read(t))
	}
	return c
}

func (r recordForm) read(t *testing.T) rollback.Record {
	t.Helper()
	rec := rollback.Record{
		Key: shop(), Revision: r.Rev, UID: or(r.UID, fmt.Sprintf("uid-%d", r.Rev)), Content: r.Content, Made: r.Made,
		Accusations: []rollback.Accusation{{Fingerprint: or(r.Episode, "e1"), StartsAt: before(t, or(r.Began, "0s"))}},
		Decisions: []rollback.Decision{{
			Verdict: rollback.Verdict(or(r.Verdict, "act")), Shed: true, Reason: r.Reason, Hold: r.Hold != "",
		}},
		Checked: r.Checked, Dangers: r.Dangers, Owner: r.Owner,
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
		rec.Hold.Ended, rec.Hold.Why = before(t, r.Lifted), "somebody gave the canary a weight of 20"
	}
	return rec
}

func (a alertForm) read(t *testing.T) rollback.Accusation {
	t.Helper()
	acc := rollback.Accusation{
		Alert: "CanaryErrors", Level: rollback.Level(a.Level), Fingerprint: or(a.Episode, "e1"),
		StartsAt: before(t, a.Began), Version: a.Version, Revision: a.Revision, Received: before(t, or(a.Received, "0s")),
		Resolved: before(t, or(a.Resolved, "never")),
	}
	if a.Prometheus != "" {
		acc.Confirmation = &rollback.Confirmation{Answer: rollback.Answer(a.Prometheus), ActiveSince: before(t, or(a.Since, "never"))}
		if a.Prometheus == "unknown" {
			acc.Confirmation.Error = "dial tcp: connection refused"
		}
	}
	return acc
}

func section(archive *txtar.Archive, name string) string {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setSection(archive *txtar.Archive, name, text string) {
	for i, f := range archive.Files {
		if f.Name == name {
			archive.Files[i].Data = []byte(text)
			return
		}
	}
	archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(text)})
}

// before returns the time of that age; "never" is the zero time.
func before(t *testing.T, age string) time.Time {
	t.Helper()
	if age == "never" {
		return time.Time{}
	}
	d, err := time.ParseDuration(age)
	if err != nil {
		t.Fatalf("age %q: %v", age, err)
	}
	return now().Add(-d)
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
