package rules

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A ruler that writes to VictoriaMetrics does not see in an evaluation what it has
// just recorded: results leave vmalert within two seconds, and VictoriaMetrics shows
// new samples within two more. So the rules are in stages, groups that vmalert
// evaluates one after the other. By offset, all selectors of a stage see the moment
// that the first stage has seen.
const (
	// stageInterval is the time between two evaluations of a rule.
	stageInterval = 15 * time.Second
	// stageDelay is the time from one stage to the next, and from the moment that an
	// evaluation is about to the first stage.
	stageDelay = 5 * time.Second
)

// stages returns the rules in MetricsQL, as a group for each stage.
func (g group) stages() ([]group, error) {
	s := stager{wrote: map[string]int{}, all: map[string]bool{}}
	for i := range g.Rules {
		s.all[ruleName(&g.Rules[i])] = true
	}
	for _, rule := range g.Rules {
		if err := s.add(rule); err != nil {
			return nil, err
		}
	}
	for i := range s.groups {
		s.groups[i].Name = fmt.Sprintf("%s-%02d", g.Name, i+1)
		s.groups[i].Interval = stageInterval.String()
		s.groups[i].Offset = (late(i) % stageInterval).String()
		// Otherwise VictoriaMetrics answers with what was there 30 seconds ago.
		s.groups[i].Params = map[string][]string{"nocache": {"1"}}
	}
	return s.groups, nil
}

// stager puts rules into stages. wrote has the stage of each series that the rules so
// far record, and of each alert; all has the series and alerts of all rules.
type stager struct {
	groups []group
	wrote  map[string]int
	all    map[string]bool
}

// ruleName returns the series that a rule records, or its alert.
func ruleName(rule *yaml.Node) string {
	if name := field(rule, "record"); name != nil {
		return name.Value
	}
	return field(rule, "alert").Value
}

// add puts a rule into the first stage after those that it reads.
func (s *stager) add(rule yaml.Node) error {
	name := ruleName(&rule)
	expr := field(&rule, "expr")
	text := metricsQL(expr.Value)
	stage := 0
	for _, selector := range selectors(text) {
		read := selector.latest(s.wrote)
		if at, ok := s.wrote[read]; ok {
			stage = max(stage, at+1)
		} else if s.all[read] {
			return fmt.Errorf("stage %s: it reads %s, which a later rule records", name, read)
		}
	}
	for len(s.groups) <= stage {
		s.groups = append(s.groups, group{})
	}
	expr.SetString(s.lookBack(text, stage))
	if err := widen(field(&rule, "annotations"), late(stage)); err != nil {
		return fmt.Errorf("stage %s: %w", name, err)
	}
	s.groups[stage].Rules = append(s.groups[stage].Rules, rule)
	s.wrote[name] = max(stage, s.wrote[name])
	return nil
}

// late is the time from the moment that an evaluation is about to a stage.
func late(stage int) time.Duration { return time.Duration(stage+1) * stageDelay }

// widen adds that time to an alert's window: so far back does its condition look from
// the time at which it fires.
func widen(annotations *yaml.Node, late time.Duration) error {
	if annotations == nil || field(annotations, "window") == nil {
		return nil
	}
	window := field(annotations, "window")
	d, err := time.ParseDuration(window.Value)
	if err != nil {
		return fmt.Errorf("read the annotation window: %w", err)
	}
	window.SetString(duration(d + late))
	return nil
}

// lookBack gives the selectors and the time() of a stage's expression offsets.
// Thresholds do not change, and need none.
func (s *stager) lookBack(text string, stage int) string {
	var b strings.Builder
	end := 0
	for _, selector := range selectors(text) {
		if selector.name == thresholdName {
			continue
		}
		back := late(stage)
		if at, ok := s.wrote[selector.latest(s.wrote)]; ok {
			back = time.Duration(stage-at) * stageDelay
		}
		b.WriteString(text[end:selector.end])
		b.WriteString(" offset " + duration(back+selector.offset))
		end = selector.next
	}
	b.WriteString(text[end:])
	return strings.ReplaceAll(b.String(), "time()", "(time() - "+fmt.Sprint(late(stage).Seconds())+")")
}

// duration writes a duration in seconds, or in milliseconds.
func duration(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// metricsQL translates functions that have another meaning in MetricsQL. There,
// increase() counts from the sample before its window, changes() counts the first
// sample of a series, and neither extrapolates: increase_prometheus() is increase()
// with our correction already in it.
func metricsQL(text string) string {
	corrected := regexp.MustCompile(`\bincrease\((\w+(?:\{[^}]*\})?\[\w+\])\)\s+\* \(1 - 1 / count_over_time\((\w+(?:\{[^}]*\})?\[\w+\])\)\)`)
	text = corrected.ReplaceAllStringFunc(text, func(found string) string {
		m := corrected.FindStringSubmatch(found)
		if m[1] != m[2] {
			return found
		}
		return "increase_prometheus(" + m[1] + ")"
	})
	return strings.ReplaceAll(text, "changes(", "changes_prometheus(")
}

// selector is a selector in an expression.
type selector struct {
	name, matchers string
	offset         time.Duration
	// end is the index behind it without its offset, next with it.
	end, next int
}

const alertsSeries = "ALERTS"

// selectors finds the selectors of an expression. The name of a metric that no rule
// records has matchers or a range behind it, or begins as those of
// kube-state-metrics and backout do.
func selectors(text string) []selector {
	var found []selector
	words := regexp.MustCompile(`([a-zA-Z_][\w:]*)(\{[^}]*\})?(\[\w+\])?(?: offset (\w+))?`)
	for _, m := range words.FindAllStringSubmatchIndex(text, -1) {
		group := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return text[m[2*i]:m[2*i+1]]
		}
		s := selector{name: group(1), matchers: group(2), end: m[1], next: m[1]}
		if !strings.Contains(s.name, ":") && s.matchers+group(3) == "" &&
			!strings.HasPrefix(s.name, "kube_") && !strings.HasPrefix(s.name, "backout_") {
			continue
		}
		if back, err := time.ParseDuration(group(4)); err == nil {
			s.offset, s.end = back, m[8]-len(" offset ")
		}
		found = append(found, s)
	}
	return found
}

// latest returns the name of what it reads: for ALERTS the alert in the latest stage.
func (s selector) latest(wrote map[string]int) string {
	if s.name != alertsSeries {
		return s.name
	}
	latest := s.name
	names := regexp.MustCompile(`alertname=~?"([^"]*)"`).FindStringSubmatch(s.matchers)
	for name := range strings.SplitSeq(names[len(names)-1], "|") {
		if at, ok := wrote[name]; ok && at >= wrote[latest] {
			latest = name
		}
	}
	return latest
}
