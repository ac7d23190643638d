package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/tests/stage"
)

// line shows one moment of the story.
func (s *story) line(at time.Time, kind, text string) {
	fmt.Fprintf(s.out, "%12.3f  %-10s %s\n", at.Sub(s.fired).Seconds(), kind, text)
}

func (s *story) event(e stage.Event) {
	switch e.Kind {
	case stage.SawRecord:
		s.line(e.At, "record", "ConfigMap "+e.Name+" stored")
	case stage.SawWeight:
		s.line(e.At, "weight "+e.Value, "Ingress "+e.Name+" at the API server")
	case stage.SawRevision:
		s.line(e.At, "helm", "revision "+e.Value)
	}
}

// show prints how the story ended: the release's history, the weight and the
// record, as anybody can read them.
func (s *story) show(ctx context.Context) {
	if s.timeline == nil {
		return
	}
	if history, err := s.stage.Helm(ctx, "history", stage.Release, "--namespace", stage.Namespace); err == nil {
		s.section("helm history "+stage.Release, history)
	}
	ingress, err := s.stage.Client.NetworkingV1().Ingresses(stage.Namespace).Get(ctx, stage.CanaryIngress, metav1.GetOptions{})
	if err == nil {
		text := stage.WeightAnnotation + ": " + ingress.Annotations[stage.WeightAnnotation]
		if ingress.Annotations[stage.WeightAnnotation] == "0" {
			text += "\n(held at zero until v2's pods are ready; this sandbox runs no pods yet)"
		}
		s.section("Ingress "+stage.CanaryIngress, text)
	}
	name := ledger.Name(stage.Release, badRevision)
	record, err := s.stage.Client.CoreV1().ConfigMaps(stage.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		s.section("ConfigMap "+name, record.Data["record.yaml"])
	}
}

func (s *story) section(title, text string) {
	fmt.Fprintf(s.out, "\n%s\n", title)
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintf(s.out, "  %s\n", strings.TrimRight(line, "\n"))
	}
}

// lookAround says how to use what is held open.
func (s *story) lookAround() {
	fmt.Fprintf(s.out, `
The sandbox stays open until Ctrl-C. In another terminal:
  export KUBECONFIG=%s
  kubectl -n %s get deployments,ingresses,configmaps
  %s history %s -n %s
`, s.stage.Sandbox.Kubeconfig(), stage.Namespace, s.stage.HelmPath(), stage.Release, stage.Namespace)
	if s.backout != nil {
		fmt.Fprintf(s.out, "  curl %s/api/v1/records\n  curl %s/metrics\n", s.backout.OpsURL(), s.backout.OpsURL())
		fmt.Fprintf(s.out, "backout's log: %s\n", filepath.Clean(s.backout.Child.Log()))
	}
	if s.alertmanager != nil {
		fmt.Fprintf(s.out, "Alertmanager:  %s\n", s.alertmanager.URL())
	}
}
