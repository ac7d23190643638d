package prom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/upcommerce/backout/rollback"
)

// windowAnnotation is the annotation of an alert rule that says how far back its condition looks
// at the canary. Its recorded series may look further back at others.
const windowAnnotation = "window"

// evidenceFrom returns since when the rule looked back, by this machine's clock; the zero time
// if the server does not say.
func (s server) evidenceFrom(ctx context.Context, q query) time.Time {
	sent := time.Now()
	clock, err := s.vector(ctx, "vector(0)", time.Time{})
	if err != nil || len(clock) != 1 {
		return time.Time{}
	}
	ahead := clock[0].Timestamp.Time().Sub(sent) + time.Millisecond // the server cuts off the rest of one
	groups, err := s.ruleGroups(ctx, q.alert)
	if err != nil {
		return time.Time{}
	}
	var latest time.Time
	for _, group := range groups {
		for _, rule := range group.Rules {
			window, known := rule.window()
			if !known || rule.Name != q.alert || rule.Health == promv1.RuleHealthBad || !rule.isTrueFor(q) {
				continue
			}
			// The rule reads samples up to the time at which the evaluation of its group began.
			evaluated := rule.LastEvaluation
			if began := group.LastEvaluation; !began.IsZero() && began.Before(evaluated) {
				evaluated = group.LastEvaluation
			}
			latest = rollback.Later(latest, evaluated.Add(-window-ahead).UTC())
		}
	}
	return latest
}

// evidenceGroup and evidenceRule have what the rules API says of alert rules that the library's
// types do not.
type evidenceGroup struct {
	LastEvaluation time.Time      `json:"lastEvaluation"`
	Rules          []evidenceRule `json:"rules"`
}

type evidenceRule struct {
	Name        string            `json:"name"`
	Query       string            `json:"query"`
	Annotations map[string]string `json:"annotations"`
	// KeepFiringFor is nil for a server that does not report why an alert fires.
	KeepFiringFor  *float64          `json:"keepFiringFor"`
	Health         promv1.RuleHealth `json:"health"`
	LastEvaluation time.Time         `json:"lastEvaluation"`
	Alerts         []evidenceAlert   `json:"alerts"`
}

type evidenceAlert struct {
	State  promv1.AlertState `json:"state"`
	Labels model.LabelSet    `json:"labels"`
	// KeepFiringSince is when the condition ceased to be true; zero if it is.
	KeepFiringSince time.Time `json:"keepFiringSince"`
}

// isTrueFor reports whether the alert of the query fires, and its condition is true.
func (r evidenceRule) isTrueFor(q query) bool {
	for _, a := range r.Alerts {
		matches, _ := q.matches(a.Labels)
		if matches && a.State == promv1.AlertStateFiring && r.KeepFiringFor != nil && a.KeepFiringSince.IsZero() {
			return true
		}
	}
	return false
}

var (
	quoted   = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`")
	rangeOf  = regexp.MustCompile(`\[([^\]]*)\]`)
	offsetOf = regexp.MustCompile(`(?i)\boffset\s+(-?[0-9a-z]+)`)
)

// window returns how far back the rule looks, and whether that is known.
func (r evidenceRule) window() (time.Duration, bool) {
	if text, ok := r.Annotations[windowAnnotation]; ok {
		d, err := model.ParseDuration(text)
		return time.Duration(d), err == nil
	}
	expr := quoted.ReplaceAllString(r.Query, `""`)
	// A colon is part of the name of a recorded series, or of a subquery.
	if strings.ContainsAny(expr, ":@") || !rangeOf.MatchString(expr) {
		return 0, false
	}
	longest := func(found [][]string) (longest time.Duration, known bool) {
		for _, match := range found {
			d, err := model.ParseDuration(match[1])
			if err != nil {
				return 0, false
			}
			longest = max(longest, time.Duration(d))
		}
		return longest, true
	}
	ranges, ok := longest(rangeOf.FindAllStringSubmatch(expr, -1))
	offsets, known := longest(offsetOf.FindAllStringSubmatch(expr, -1))
	return ranges + offsets, ok && known
}

// ruleGroups reads the groups that have alert rules of that name, and others too if the server
// does not know the filter.
func (s server) ruleGroups(ctx context.Context, alert string) ([]evidenceGroup, error) {
	u := s.client.URL("/api/v1/rules", nil)
	u.RawQuery = url.Values{"type": {"alert"}, "rule_name[]": {alert}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("read the rules of %s: %w", s.name, err)
	}
	response, body, err := s.client.Do(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("read the rules of %s: %w", s.name, err)
	}
	var result struct {
		Status string `json:"status"`
		Data   struct {
			Groups []evidenceGroup `json:"groups"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &result); err != nil {
		return nil, fmt.Errorf("read the rules of %s: %w", s.name, err)
	}
	if response.StatusCode != http.StatusOK || result.Status != "success" {
		return nil, fmt.Errorf("read the rules of %s: %w", s.name, errors.New(response.Status))
	}
	return result.Data.Groups, nil
}
