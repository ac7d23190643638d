package main

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/tests/env/stage"
)

// show prints the end of the story: the moments in order, the split, the release's
// history, the weight and the record, all of which any user of the cluster can read.
func (s *scene) show(ctx context.Context) {
	if s.canary == nil {
		return
	}
	if len(s.canary.Moments) > 0 {
		var table strings.Builder
		s.canary.Moments.Table(&table)
		s.section("Timeline, in seconds from the first bad request", table.String())
	}
	if s.after.Total > 0 {
		s.section("The traffic, measured", "before  "+s.before.String()+"\nafter   "+s.after.String())
	}
	if history, err := s.stage.Helm(ctx, "history", stage.Release, "--namespace", stage.Namespace); err == nil {
		s.section("helm history "+stage.Release, history)
	}
	ingress, err := s.stage.Client.NetworkingV1().Ingresses(stage.Namespace).Get(ctx, stage.CanaryIngress, metav1.GetOptions{})
	if err == nil {
		s.section("Ingress "+stage.CanaryIngress, stage.WeightAnnotation+": "+ingress.Annotations[stage.WeightAnnotation])
	}
	name := ledger.Name(stage.Release, badRevision)
	record, err := s.stage.Client.CoreV1().ConfigMaps(stage.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		s.section("ConfigMap "+name, record.Data["record.yaml"])
	}
}

func (s *scene) section(title, text string) {
	fmt.Fprintf(s.out, "\n%s\n", title)
	for line := range strings.Lines(strings.Trim(text, "\n")) {
		fmt.Fprintf(s.out, "  %s\n", strings.TrimRight(line, "\n"))
	}
}

// explain prints how to use the open sandbox.
func (s *scene) explain(ctx context.Context) {
	fmt.Fprintf(s.out, `
The sandbox stays open until Ctrl-C. In another terminal:
  export KUBECONFIG=%s
  kubectl -n %s get pods,ingresses,configmaps
  %s history %s -n %s
`, s.stage.Sandbox.Kubeconfig(), stage.Namespace, s.stage.HelmPath(), stage.Release, stage.Namespace)
	if router, err := s.stage.Sandbox.RouterURL(ctx); err == nil {
		// A browser resolves every name under localhost to this machine.
		fmt.Fprintf(s.out, "The storefront: %s\n", strings.Replace(router, "127.0.0.1", stage.Host, 1))
	}
	if s.backout != nil {
		fmt.Fprintf(s.out, "backout:        %s/api/v1/records and /metrics; its log: %s\n", s.backout.OpsURL(), s.backout.Child.Log())
	}
	if s.alertmanager != nil {
		fmt.Fprintf(s.out, "Alertmanager:   %s\n", s.alertmanager.URL())
	}
	if s.prometheus != nil {
		fmt.Fprintf(s.out, "Prometheus:     %s/api/v1/alerts (it has no web interface)\n", s.prometheus.URL())
	}
}
