package traffic

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// paused is a canary that KEDA scales, which gives replicas also to a Deployment that has none: it is paused for as long as the canary is
// held at zero.
func (p place) paused(t *testing.T) {
	f := p.shape.forms[percent]
	text := p.text(f)
	const scaled = `
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: shop}
spec: {minReplicaCount: 1, scaleTargetRef: {name: shop-canary}, triggers: [{type: cron, metadata: {timezone: UTC, start: 0 0 * * *, end: 59 23 * * *, desiredReplicas: "1"}}]}`
	p.must(t, text+"\n---"+scaled)
	m := decode(t, text+"\n---"+scaled)
	p.shed(t, m)
	p.polled(t, text, scaled)
	p.checkWeights(t, text, "0", "after KEDA has looked")
	p.restore(t, m)
	p.clean(t, p.checkWeights(t, text, "1", "after the restore"))
	p.clean(t, p.live(t, scaled))
	if annotations := p.live(t, scaled).GetAnnotations(); len(annotations) > 0 {
		t.Errorf("after the restore the ScaledObject has annotations: %v", annotations)
	}
	o := p.live(t, text)
	if _, err := p.resource(o).Patch(t.Context(), o.GetName(), types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	p.polled(t, text, scaled)
	p.checkWeights(t, text, "1", "after KEDA has looked at an object that is not paused")
}

// polled does what a poll of KEDA does with a Deployment without replicas.
// https://github.com/kedacore/keda/blob/main/pkg/scaling/executor/scale_scaledobjects.go (RequestScale)
func (p place) polled(t *testing.T, text, scaled string) {
	t.Helper()
	replicas := "1"
	if n, ok := p.live(t, scaled).GetAnnotations()["autoscaling.keda.sh/paused-replicas"]; ok {
		replicas = n
	}
	o := p.live(t, text)
	if _, err := p.resource(o).Patch(t.Context(), o.GetName(), types.MergePatchType, []byte(`{"spec":{"replicas":`+replicas+`}}`),
		metav1.PatchOptions{FieldManager: "keda"}); err != nil {
		t.Fatal(err)
	}
}
