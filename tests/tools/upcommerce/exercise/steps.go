package exercise

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/dashboards"
	"github.com/upcommerce/backout/tests/tools/panels/grafana"
)

// monitor checks that Prometheus scrapes the storefront, measures five minutes of traffic,
// and runs the dashboards' queries.
func (r *run) monitor(ctx context.Context) error {
	r.stroll(ctx)
	began := time.Now()
	r.bar.Begin("waiting for Prometheus to scrape both tracks")
	up := fmt.Sprintf("sum(up{namespace=%q,release=%q})", Namespace, Release)
	if err := eventually(ctx, func() error { return r.allScraped(ctx, up) }); err != nil {
		return fmt.Errorf("%w; is there a ServiceMonitor that this Prometheus selects?", err)
	}
	rules, err := r.rules(ctx)
	if err != nil {
		return err
	}
	r.printf("%s = 4; %d alert rules about canaries are loaded", up, rules)
	if r.InParallel != nil {
		r.printf("in parallel, other canaries turn bad in namespaces of their own")
		if r.answers.Faults, err = r.InParallel(ctx); err != nil {
			return err
		}
		r.printf("a rollback took 45 minutes on average. Now, by kind of fault:\n")
		WriteFaults(r.out, r.answers.Faults)
		fmt.Fprintln(r.out)
	}
	r.bar.Begin(fmt.Sprintf("measuring the traffic of v1 and v2 over %s", r.Window))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(began.Add(r.Window + 2*r.Scrape))):
	}
	r.answers.Traffic = time.Since(began)
	if err := errors.Join(r.readCluster(ctx), r.queryPrometheus(ctx)); err != nil {
		return err
	}
	few := r.Shoppers().Split(ctx, original)
	split, err := Split(ctx, r.Shoppers(), "v2")
	if err != nil {
		return err
	}
	r.share = few.Versions["v2"]
	r.putSplit(split.Total, split.Versions["v2"])
	r.bar.End()
	r.printf("%s; of %d requests, %d", split, original, r.share)
	return r.dashboards(ctx, began)
}

func (r *run) allScraped(ctx context.Context, up string) error {
	n, err := r.query(ctx, up)
	if err == nil && n != 4 {
		err = fmt.Errorf("got %.0f pods that Prometheus scrapes, want 4", n)
	}
	return err
}

// rules returns the number of alert rules about canaries in Prometheus.
func (r *run) rules(ctx context.Context) (int, error) {
	all, err := r.Prometheus.Rules(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("query Prometheus for its rules: %w", err)
	}
	n := 0
	for _, g := range all.Groups {
		for _, rule := range g.Rules {
			if a, ok := rule.(promv1.AlertingRule); ok && strings.HasPrefix(a.Name, "Canary") {
				n++
			}
		}
	}
	if n == 0 {
		return 0, errors.New("no rule about canaries in Prometheus; does it select backout's PrometheusRule?")
	}
	return n, nil
}

// dashboards runs all queries of the dashboards.
func (r *run) dashboards(ctx context.Context, since time.Time) error {
	all, err := dashboards.All()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		board, err := grafana.Query(ctx, grafana.Request{
			Dashboard: all[name], Prometheus: r.Prometheus, Start: since, End: time.Now(), Scrape: r.Scrape,
		})
		if err != nil {
			return fmt.Errorf("dashboard %s: %w", name, err)
		}
		shown := 0
		for _, p := range board.Panels {
			if len(p.Series) > 0 {
				shown++
			}
		}
		r.printf("dashboard %s: Prometheus answers every query of %d panels; %d of them show data", all[name].Title, len(board.Panels), shown)
	}
	return nil
}

// v3 is the exercise's third task: to change the canary.
func (r *run) v3(ctx context.Context) error {
	before, err := r.stablePods(ctx)
	if err != nil {
		return err
	}
	previous, err := r.deployed(ctx)
	if err != nil {
		return err
	}
	r.answers.put("rollback_test.previous_revision", previous, fmt.Sprintf("helm history %s -n %s: the revision before v3", Release, Namespace))
	r.bar.Begin("helm: upgrading the canary to v3")
	if err := r.install(ctx, canaryOf("v3", "yellow")...); err != nil {
		return err
	}
	if err := r.rolledOut(ctx, "v1", "v3"); err != nil {
		return err
	}
	after, err := r.stablePods(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return fmt.Errorf("the stable pods were %v and are %v: a new canary must not restart them", before, after)
	}
	r.printf("the stable track's pods are the same as before: %s", strings.Join(after, ", "))
	if err := r.pages(ctx, "v3", "yellow"); err != nil {
		return err
	}
	return r.split(ctx, "v3")
}

func (r *run) stablePods(ctx context.Context) ([]string, error) {
	client, err := r.client()
	if err != nil {
		return nil, err
	}
	pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "track=stable"})
	if err != nil {
		return nil, fmt.Errorf("list the pods: %w", err)
	}
	var names []string
	for _, p := range pods.Items {
		names = append(names, p.Name)
	}
	return names, nil
}

// manualRollback is the exercise's fourth task.
func (r *run) manualRollback(ctx context.Context) error {
	r.stroll(ctx)
	previous := fmt.Sprint(r.answers.found["rollback_test.previous_revision"].value)
	args := []string{"rollback", Release, previous, "--namespace", Namespace, "--wait"}
	command := "helm " + strings.Join(args, " ")
	r.bar.Begin(command)
	began := time.Now()
	if _, err := r.Helm(ctx, args...); err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	if err := r.rolledOut(ctx, "v1", "v2"); err != nil {
		return err
	}
	r.replaced = time.Now()
	r.bar.End()
	for _, v := range r.shoppers.Visits() {
		if v.Failed() {
			r.failedManually++
		}
	}
	r.printf("%s: %.1f s; %d of %d requests failed meanwhile", command, took, r.failedManually, len(r.shoppers.Visits()))
	r.answers.put("rollback_test.rollback_command_used", command, "the command of this run")
	r.answers.put("rollback_test.time_to_rollback_seconds", rounded(took), "time "+command)
	return r.pages(ctx, "v2", "green")
}

// afterwards measures the split again, and the rest of the error budget.
func (r *run) afterwards(ctx context.Context) error {
	if err := r.pages(ctx, "v2", "green"); err != nil {
		return err
	}
	if err := r.split(ctx, "v2"); err != nil {
		return err
	}
	b, err := ErrorBudget(ctx, r.Ground)
	if err != nil {
		return err
	}
	r.printf("error budget: %.3f%% of the month's %v seconds are left", b.Left, b.Seconds)
	r.answers.put("error_budget.monthly_error_budget_seconds", rounded(b.Seconds), b.Source)
	r.answers.put("error_budget.remaining_error_budget_percentage", rounded(b.Left), b.Query)
	return r.dashboards(ctx, r.began)
}
