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
	if history, err := s.shop.Helm(ctx, "history", stage.Release, "--namespace", s.shop.Namespace); err == nil {
		s.section("helm history "+stage.Release, history)
	}
	ingress, err := s.shop.Client.NetworkingV1().Ingresses(s.shop.Namespace).Get(ctx, stage.CanaryIngress, metav1.GetOptions{})
	if err == nil {
		s.section("Ingress "+stage.CanaryIngress, stage.WeightAnnotation+": "+ingress.Annotations[stage.WeightAnnotation])
	}
	name := ledger.Name(stage.Release, badRevision)
	record, err := s.shop.Client.CoreV1().ConfigMaps(s.shop.Namespace).Get(ctx, name, metav1.GetOptions{})
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
