package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// grafana answers in the order of its answers; the last one stays.
type grafana struct {
	mu      sync.Mutex
	answers []rollback.Answer
	asked   int
}

func (g *grafana) Firing(context.Context, rollback.Key, rollback.Signal, time.Time) rollback.Confirmation {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	answer := g.answers[0]
	if len(g.answers) > 1 {
		g.answers = g.answers[1:]
	}
	return rollback.Confirmation{Answer: answer, Error: "it says so"}
}

func (g *grafana) EvidenceFrom(context.Context, rollback.Key, rollback.Signal) time.Time {
	return time.Time{}
}

// The token of a sender says which servers backout asks about its alerts; no other answer counts.
func TestATokenSaysWhoConfirmsItsAlerts(t *testing.T) {
	const firing, quiet, unproven, unknown = rollback.AnswerFiring, rollback.AnswerQuiet, rollback.AnswerUnproven, rollback.AnswerUnknown
	for name, tc := range map[string]struct {
		confirm             rollback.ConfirmBy
		ofGrafana           bool   // the payload is Grafana's
		without             string // these servers are not configured
		prometheus, grafana rollback.Answer
		want                rollback.Verdict
		says                string
	}{
		"Prometheus, without a word":      {"", false, "", firing, quiet, rollback.Act, ""},
		"Prometheus denies it":            {rollback.ConfirmByPrometheus, false, "", quiet, firing, rollback.Unconfirmed, "Prometheus says"},
		"Grafana":                         {rollback.ConfirmByGrafana, false, "", quiet, firing, rollback.Act, ""},
		"Grafana denies it":               {rollback.ConfirmByGrafana, false, "", firing, quiet, rollback.Unconfirmed, "Grafana says that the alert did not fire"},
		"no rule of Grafana has its name": {rollback.ConfirmByGrafana, false, "", firing, unproven, rollback.Unconfirmed, "Grafana does not confirm the alert"},
		"Grafana does not say":            {rollback.ConfirmByGrafana, false, "", firing, unknown, rollback.Unknown, "Grafana could not confirm the alert"},
		"whatever the payload is":         {"", true, "", quiet, firing, rollback.Unconfirmed, "Prometheus says"},
		"Grafana, without Prometheus":     {"", true, "Prometheus", unproven, firing, rollback.Act, ""},
		"whatever it is":                  {"", false, "Prometheus", firing, quiet, rollback.Unconfirmed, "Grafana says that the alert did not fire"},
		"its token says Prometheus":       {rollback.ConfirmByPrometheus, true, "", quiet, firing, rollback.Unconfirmed, "Prometheus says"},
		"its Grafana is not configured":   {"", true, "Grafana", unproven, firing, rollback.Unconfirmed, "Prometheus does not confirm the alert"},
		"backout believes it":             {rollback.ConfirmByNone, false, "", quiet, quiet, rollback.Act, ""},
		"and Grafana's contact point":     {rollback.ConfirmByNone, true, "", quiet, quiet, rollback.Act, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, g := newCluster(), &grafana{answers: []rollback.Answer{tc.grafana}}
				c.answers = answers(tc.prometheus)
				e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) {
					if tc.without != "Grafana" {
						o.Grafana = g
					}
					if tc.without != "Prometheus" {
						o.Prometheus = c
					}
				})
				run(t, e)
				a := alert("rollback")
				a.Sender, a.OfGrafana = &rollback.Sender{Name: "token", Namespaces: []string{rollback.AllNamespaces}, Confirm: tc.confirm}, tc.ofGrafana
				deliver(t, e, a)
				wait(10 * time.Second)
				r := c.shopRecord(2)
				if d := r.Decision(); d.Verdict != tc.want || !strings.Contains(d.Reason, tc.says) {
					t.Errorf("the verdict is %s, %q; want %s because of %q", d.Verdict, d.Reason, tc.want, tc.says)
				}
				if acted := c.rollbacks == 1; acted != (tc.want == rollback.Act) {
					t.Errorf("%d rollbacks", c.rollbacks)
				}
				if tc.confirm == rollback.ConfirmByNone && (len(c.queriedAt) > 0 || g.asked > 0 || r.Signals[0].Confirmation != nil) {
					t.Error("backout asks nothing about an alert that it is to believe")
				}
			})
		})
	}
}

// A replica without Prometheus asks Grafana about a signal that is stored as one of Prometheus', too.
func TestAStoredSignalOfPrometheusIsNotBelievedWithoutIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = answers(rollback.AnswerUnknown)
		e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c))
		stop := run(t, e)
		deliver(t, e, alert("rollback"))
		wait(10 * time.Second)
		stop()
		g := &grafana{answers: []rollback.Answer{rollback.AnswerQuiet}}
		next := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Grafana = g })
		run(t, next)
		next.OnRecord(c.shopRecord(2))
		wait(10 * time.Second)
		if r := c.shopRecord(2); c.rollbacks > 0 || g.asked == 0 {
			t.Errorf("%d rollbacks, verdict %s, %d queries: want none, because Grafana is asked and does not confirm the alert", c.rollbacks, r.Decision().Verdict, g.asked)
		}
	})
}

// A replica without Grafana asks Prometheus about a signal that is stored as one of Grafana's: it believes
// none that another replica would not.
func TestAStoredSignalOfGrafanaIsNotBelievedWithoutIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = answers(rollback.AnswerQuiet)
		e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c), func(o *engine.Options) {
			o.Grafana = &grafana{answers: []rollback.Answer{rollback.AnswerUnknown}}
		})
		stop := run(t, e)
		a := alert("rollback")
		a.Sender = &rollback.Sender{Name: "token", Namespaces: []string{rollback.AllNamespaces}, Confirm: rollback.ConfirmByGrafana}
		deliver(t, e, a)
		wait(10 * time.Second)
		stop()
		if r := c.shopRecord(2); r.Signals[0].Confirm != rollback.ConfirmByGrafana || r.Decision().Verdict != rollback.Unknown {
			t.Fatalf("the record has %+v", r.Signals)
		}
		next := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c))
		run(t, next)
		next.OnRecord(c.shopRecord(2))
		wait(time.Minute)
		if r := c.shopRecord(2); c.rollbacks > 0 || r.Decision().Verdict != rollback.Unknown || len(c.queriedAt) == 0 {
			t.Errorf("%d rollbacks, verdict %s, %d queries: want none, because Prometheus is asked and does not confirm the alert", c.rollbacks, r.Decision().Verdict, len(c.queriedAt))
		}
	})
}

// An alert that backout believes, and that had to wait, counts once it was repeated, as without
// Prometheus.
func TestAnAlertThatIsBelievedIsRepeatedAfterAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = answers(rollback.AnswerFiring)
		e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c))
		run(t, e)
		a := settlingAlert()
		a.Sender = &rollback.Sender{Name: "token", Namespaces: []string{rollback.AllNamespaces}, Confirm: rollback.ConfirmByNone}
		deliver(t, e, a)
		wait(rollbacktest.Policy().Settle + time.Second)
		if c.rollbacks > 0 || len(c.queriedAt) > 0 {
			t.Fatalf("%d rollbacks, %d queries; want that backout waits for a repetition, and asks nothing", c.rollbacks, len(c.queriedAt))
		}
		deliver(t, e, a)
		wait(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after the repetition, want 1", c.rollbacks)
		}
	})
}

// Recovery is proven by the servers that the token names; without any, the end of the alert proves nothing.
func TestTheOutcomeOfAlertsThatPrometheusDoesNotKnow(t *testing.T) {
	const firing, quiet = rollback.AnswerFiring, rollback.AnswerQuiet
	for name, tc := range map[string]struct {
		confirm      rollback.ConfirmBy
		after        rollback.Answer
		resolved     bool
		noPrometheus bool
		want         rollback.Outcome
	}{
		"Grafana says that it is over":                  {rollback.ConfirmByGrafana, quiet, false, false, rollback.OutcomeRecovered},
		"but the traffic is not known":                  {rollback.ConfirmByGrafana, quiet, false, true, rollback.OutcomeRestored},
		"Grafana says that it fires":                    {rollback.ConfirmByGrafana, firing, true, false, rollback.OutcomeNotRecovered},
		"the sender that is believed says that it ends": {rollback.ConfirmByNone, firing, true, false, rollback.OutcomeRestored},
		"the sender that is believed says nothing":      {rollback.ConfirmByNone, quiet, false, false, rollback.OutcomeNotRecovered},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.answers, c.trafficRate = answers(rollback.AnswerQuiet), 3
				e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) {
					o.Grafana = &grafana{answers: []rollback.Answer{firing, tc.after}}
					if !tc.noPrometheus {
						o.Prometheus = c
					}
				})
				run(t, e)
				a := alert("rollback")
				a.Sender = &rollback.Sender{Name: "token", Namespaces: []string{rollback.AllNamespaces}, Confirm: tc.confirm}
				deliver(t, e, a)
				wait(time.Minute)
				if a.Resolved = tc.resolved; tc.resolved {
					deliver(t, e, a)
				}
				wait(time.Hour)
				if r := c.shopRecord(2); r.Outcome != tc.want {
					t.Errorf("the outcome is %q (%+v), want %q", r.Outcome, r.Verify, tc.want)
				}
			})
		})
	}
}

// evaluator answers at some time, and never knows from when an alert's evidence is.
type evaluator func() rollback.Confirmation

func (e evaluator) Firing(context.Context, rollback.Key, rollback.Signal, time.Time) rollback.Confirmation {
	return e()
}

func (e evaluator) EvidenceFrom(context.Context, rollback.Key, rollback.Signal) time.Time {
	return time.Time{}
}

// At the limit of the verification an answer that is missing is asked for again, and the outcome says what backout could not ask.
func TestOneMissingAnswerDoesNotDecideTheOutcome(t *testing.T) {
	const quiet, unknown = rollback.AnswerQuiet, rollback.AnswerUnknown
	for name, tc := range map[string]struct {
		missing    time.Duration // around the limit
		prometheus bool
		traffic    error
		want       rollback.Outcome
		says       string
	}{
		"Grafana alone":                      {0, false, nil, rollback.OutcomeRestored, "without BACKOUT_PROMETHEUS_URLS"},
		"Grafana restarts at the limit":      {time.Minute, false, nil, rollback.OutcomeRestored, "without BACKOUT_PROMETHEUS_URLS"},
		"Grafana does not answer":            {time.Hour, false, nil, rollback.OutcomeNotRecovered, "Grafana did not answer (grafana:3000: no answer) until 12m0s after the rollback"},
		"Prometheus does not know the rates": {0, true, errors.New("prometheus:9090: no answer"), rollback.OutcomeRestored, "not known whether the canary gets traffic: prometheus:9090: no answer"},
		"the canary gets too little":         {0, true, nil, rollback.OutcomeRestored, "too little traffic"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.trafficErr = tc.traffic
				answer := rollback.Confirmation{Answer: rollback.AnswerFiring}
				e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) {
					o.Grafana = evaluator(func() rollback.Confirmation {
						var got rollback.Confirmation
						c.change(func() { got = answer })
						return got
					})
					if tc.prometheus {
						o.Prometheus = c
					}
				})
				run(t, e)
				a := alert("rollback")
				a.Sender = &rollback.Sender{Name: "token", Namespaces: []string{rollback.AllNamespaces}, Confirm: rollback.ConfirmByGrafana}
				deliver(t, e, a)
				wait(time.Second)
				c.change(func() { answer = rollback.Confirmation{Answer: quiet} })
				restored := c.shopRecord(2).Restore.Done
				if restored.IsZero() {
					t.Fatalf("not restored: %+v", c.shopRecord(2))
				}
				wait(rollbacktest.Policy().VerifyLimit - tc.missing/2 - time.Since(restored))
				if tc.missing > 0 {
					c.change(func() { answer = rollback.Confirmation{Answer: unknown, Error: "grafana:3000: no answer"} })
				}
				wait(tc.missing)
				c.change(func() { answer = rollback.Confirmation{Answer: quiet} })
				wait(10 * time.Minute)
				if r := c.shopRecord(2); r.Outcome != tc.want || r.Verify == nil || !strings.Contains(r.Verify.Note, tc.says) {
					t.Errorf("the outcome is %q (%+v), want %q with %q", r.Outcome, r.Verify, tc.want, tc.says)
				}
			})
		})
	}
}
