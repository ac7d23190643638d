package serve_test

import (
	"encoding/json"
	"html"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/notify/slacktest"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// answer is what one reader gets to know about a record.
type answer struct {
	// state is noState where the reader is shown none, command "" where it gets none.
	state, command string
	needsHelp      bool
}

// noState is the state of readers that are shown none.
const noState = "not shown"

// TestEveryReaderGetsTheSameAnswer shows every record of the test data to every reader,
// through the front door of each, and compares the answers: how far has the record come,
// does it need help, and which command comes first?
func TestEveryReaderGetsTheSameAnswer(t *testing.T) {
	all := records(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { compareAnswers(t, show(t, all[name])) })
		})
	}
	for name, want := range map[string]struct {
		state     report.State
		needsHelp bool
	}{
		"baked_shed_fails":    {report.StateStuck, true}, // six times, and it is retried
		"act_shed_given_up":   {report.StateStuck, true}, // and the rollback is due
		"act_preflight_fails": {report.StateStuck, true},
		"act_rollback_fails":  {report.StateStuck, true},
		"act_restore_fails":   {report.StateStuck, true},
		"paused":              {report.StatePaused, true},
		"storm":               {report.StateStorm, true},
		"baked":               {report.StateHeld, true},
		"act_held":            {report.StateHeld, false},
	} {
		r, ok := all[name]
		if state, needsHelp := report.StateOf(&r), report.NeedsHelp(&r); !ok || state != want.state || needsHelp != want.needsHelp {
			t.Errorf("%s: %s, needs help: %t; want %s, %t", name, state, needsHelp, want.state, want.needsHelp)
		}
	}
}

// records returns the records of the reports' tests and of the explanations' tests.
func records(t *testing.T) map[string]rollback.Record {
	t.Helper()
	all := reporttest.Records()
	files, err := filepath.Glob("../../rollback/report/testdata/explain/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records of explanations: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r rollback.Record
		if err := yaml.Unmarshal([]byte(rollbacktest.Section(txtar.Parse(text), "record.yaml")), &r); err != nil {
			t.Fatal(file, err)
		}
		r.Notified = nil // every channel sends it
		all["explain/"+strings.TrimSuffix(filepath.Base(file), ".txtar")] = r
	}
	return all
}

func compareAnswers(t *testing.T, s *shown) {
	t.Helper()
	want := answer{state: string(report.StateOf(&s.record)), needsHelp: report.NeedsHelp(&s.record)}
	if commands := report.Commands(&s.record); len(commands) > 0 {
		want.command = commands[0].Line.String()
	}
	ofStorm := want
	if want.state == string(report.StateStorm) {
		ofStorm.command = report.StormCommand().Line.String() // one message about all records of the storm
	}
	if want.needsHelp && want.command == "" {
		t.Error("the record needs help, and there is no command")
	}
	compare(t, "status page", s.overview(t), want)
	compare(t, "status page as JSON", s.row(t), want)
	compare(t, "record page", s.recordPage(t), want)
	compare(t, "backout explain", s.explanation(), want)
	compare(t, "Slack by incoming webhook", slackAnswer(t, s.slack.Hooked()), ofStorm)
	compare(t, "Slack bot", slackAnswer(t, s.botMessages()), ofStorm)
	compare(t, "Alertmanager", s.alertmanager(), ofStorm)
	compare(t, "generic webhook", s.webhook(), ofStorm)
	if got := s.listed(t); !slices.Equal(got, []string{want.state}) {
		t.Errorf("/api/v1/records lists the record for the states %v, want %s", got, want.state)
	}
	if got := s.metrics(t); got != (answer{state: want.state, needsHelp: want.needsHelp}) {
		t.Errorf("metrics: got %+v, want %+v", got, want)
	}
	// Events are a log: one about a request for help stays when help is no longer needed.
	rep := report.Of(s.record, report.Settings{})
	_, requested := rep.HelpRequested()
	if got := s.eventsRequestHelp(t); got != requested || want.needsHelp && !got {
		t.Errorf("Kubernetes Events request help: %t; the timeline does: %t, the record needs help: %t", got, requested, want.needsHelp)
	}
}

// compare compares what a reader got with what StateOf, NeedsHelp and Commands say. A
// reader may be shown no state, and no command unless the record needs help.
func compare(t *testing.T, reader string, got, want answer) {
	t.Helper()
	if got.state != noState && got.state != want.state {
		t.Errorf("%s: state %s, want %s", reader, got.state, want.state)
	}
	if got.needsHelp != want.needsHelp {
		t.Errorf("%s: needs help: %t, want %t", reader, got.needsHelp, want.needsHelp)
	}
	if got.command != want.command && (got.command != "" || want.needsHelp) {
		t.Errorf("%s: the first command is %q, want %q", reader, got.command, want.command)
	}
}

var (
	stateClass  = regexp.MustCompile(`class="state (?:[a-z-]+ )*([a-z-]+)"`)
	headTone    = regexp.MustCompile(`<section class="headline ([a-z-]+)"`)
	pageCommand = regexp.MustCompile(`(?s)class="command".*?<code>(.*?)</code>`)
	slackCode   = regexp.MustCompile("(?s)```(.*?)```")
)

// match returns the first group of the first match, with HTML entities resolved; "" if
// nothing matches.
func match(re *regexp.Regexp, text string) string {
	found := re.FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	return html.UnescapeString(found[1])
}

// overview reads the page of all records.
func (s *shown) overview(t *testing.T) answer {
	t.Helper()
	page := s.get(t, "/", "text/html")
	_, rest, found := strings.Cut(page, `id="need-help"`)
	if !found {
		t.Fatal("the status page has no part for the records that need help")
	}
	part, rest, _ := strings.Cut(rest, "</div>")
	return answer{state: match(stateClass, rest), needsHelp: strings.Contains(part, s.path()), command: match(pageCommand, part)}
}

func (s *shown) row(t *testing.T) answer {
	t.Helper()
	var view report.View
	s.getJSON(t, "/", &view)
	if len(view.Rows) != 1 {
		t.Fatalf("%d rows, want 1", len(view.Rows))
	}
	row := view.Rows[0]
	return answer{state: string(row.State), needsHelp: row.NeedsHelp, command: row.Advice.Command.String()}
}

func (s *shown) recordPage(t *testing.T) answer {
	t.Helper()
	page := s.get(t, s.path(), "text/html")
	return answer{state: match(stateClass, page), needsHelp: match(headTone, page) == "help", command: match(pageCommand, page)}
}

// listed returns the states of which /api/v1/records says that the record is in.
func (s *shown) listed(t *testing.T) []string {
	t.Helper()
	var states []string
	for _, state := range report.States() {
		var list struct {
			Records []rollback.Record `json:"records"`
		}
		s.getJSON(t, "/api/v1/records?state="+string(state), &list)
		if len(list.Records) > 0 {
			states = append(states, string(state))
		}
	}
	return states
}

// explanation reads the text for terminals: its first line has the state, and a command
// follows what to do. It does not say whether the record needs help, but by its advice.
func (s *shown) explanation() answer {
	text := report.Explain(s.record).String()
	title, rest, _ := strings.Cut(text, "\n")
	_, state, _ := strings.Cut(title, ": ")
	state, _, _ = strings.Cut(state, ",")
	_, advice, _ := strings.Cut(rest, "What to do: ")
	advice, command, _ := strings.Cut(advice, "\n")
	command, _, _ = strings.Cut(command, "\n")
	calm := strings.HasPrefix(advice, "Nothing")
	return answer{state: state, needsHelp: !calm, command: strings.TrimSpace(command)}
}

func (s *shown) metrics(t *testing.T) answer {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "backout_records_need_help":
				a.needsHelp = m.GetGauge().GetValue() == 1
			case "backout_last_record_info":
				for _, label := range m.GetLabel() {
					if label.GetName() == "state" {
						a.state = label.GetValue()
					}
				}
			}
		}
	}
	return a
}

// slackAnswer reads the mark and the first command of a message.
func slackAnswer(t *testing.T, messages []slacktest.Message) answer {
	t.Helper()
	if len(messages) == 0 {
		return answer{state: noState}
	}
	m := messages[len(messages)-1]
	a := answer{state: noState, needsHelp: strings.HasPrefix(m.Text, "[HELP] ")}
	var blocks []struct {
		Text struct {
			Text string `json:"text"`
		} `json:"text"`
	}
	if err := json.Unmarshal(m.Blocks, &blocks); err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if a.command = match(slackCode, b.Text.Text); a.command != "" {
			break
		}
	}
	return a
}

// alertmanager reads the alerts that fire, and the first command of their description.
func (s *shown) alertmanager() answer {
	a := answer{state: noState}
	for _, alert := range s.firing() {
		a.needsHelp = a.needsHelp || alert.Labels["alertname"] == "BackoutNeedsHelp"
		_, after, _ := strings.Cut(alert.Annotations["description"], "\nwhy: ")
		lines := strings.Split(after, "\n")
		a.command = lines[1][strings.LastIndex(lines[1], ": ")+2:]
	}
	return a
}

// webhook reads the last event.
func (s *shown) webhook() answer {
	if len(s.events) == 0 {
		return answer{state: noState}
	}
	rep := s.events[len(s.events)-1].Data.Report
	a := answer{state: string(rep.State), needsHelp: rep.NeedsHelp}
	if len(rep.Commands) > 0 {
		a.command = rep.Commands[0].Line.String()
	}
	return a
}
