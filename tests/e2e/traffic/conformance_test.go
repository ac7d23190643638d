package traffic

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
)

// The annotations of held weights.
const (
	heldWeight = "backout.dev/held-weight"
	heldRules  = "backout.dev/held-rules"
)

// TestConformance runs the same cases for every kind of router, and prints a table of the
// results.
func TestConformance(t *testing.T) {
	c := openCluster(t)
	results := make(map[string]map[string]string)
	for _, s := range shapes() {
		results[s.name] = make(map[string]string)
		try := func(name string, run func(t *testing.T, p place)) {
			results[s.name][name] = "ok"
			if !t.Run(s.name+"/"+name, func(t *testing.T) { run(t, c.place(t, s)) }) {
				results[s.name][name] = "FAIL"
			}
		}
		for _, name := range forms() {
			if f, ok := s.forms[name]; ok {
				try(name, func(t *testing.T, p place) { p.weights(t, f) })
			}
		}
		for _, o := range others() {
			if o.name != autoscaler && o.name != keda || s.takeovers == nil {
				try(o.name, o.run)
			}
		}
	}
	t.Log("\n" + table(results))
}

// The cases that only a shape without routes has.
const (
	autoscaler = "autoscaler"
	keda       = "KEDA"
)

// others are the cases with other clients and controllers.
func others() []struct {
	name string
	run  func(*testing.T, place)
} {
	return []struct {
		name string
		run  func(*testing.T, place)
	}{
		{"observe", func(t *testing.T, p place) { p.observe(t) }},
		{"conflicts", func(t *testing.T, p place) { p.conflicts(t) }},
		{"server-side apply", func(t *testing.T, p place) { p.foreign(t) }},
		{"helm", func(t *testing.T, p place) { p.operations(t) }},
		{"own release", func(t *testing.T, p place) { p.found(t) }},
		{autoscaler, func(t *testing.T, p place) { p.autoscaled(t) }},
		{keda, func(t *testing.T, p place) { p.paused(t) }},
	}
}

// table renders router x case; "-" for a case that a router does not have.
func table(results map[string]map[string]string) string {
	columns := forms()
	for _, o := range others() {
		columns = append(columns, o.name)
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\t"+strings.Join(columns, "\t"))
	for _, s := range shapes() {
		row := []string{s.name}
		for _, column := range columns {
			result, ok := results[s.name][column]
			if !ok {
				result = "-"
			}
			row = append(row, result)
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
	return out.String()
}

// manifest returns the manifest of a revision with the form.
func (p place) manifest(t *testing.T, f form) rollback.Manifest {
	t.Helper()
	return decode(t, p.text(f))
}

// text returns the objects of the form, with the place's namespace in full host names.
func (p place) text(f form) string {
	return strings.ReplaceAll(f.text+"\n---\n"+p.shape.with, "shop.example.svc", "shop."+p.key.Namespace+".svc")
}

func (p place) shed(t *testing.T, m rollback.Manifest) []rollback.Weight {
	t.Helper()
	weights, err := p.router.Shed(t.Context(), p.key, m, nil, nil)
	if err != nil {
		t.Fatalf("shed: %v", err)
	}
	return weights
}

func (p place) restore(t *testing.T, m rollback.Manifest) []rollback.Weight {
	t.Helper()
	weights, err := p.router.Restore(t.Context(), p.key, m, nil)
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return weights
}

// checkWeights checks the live weights and returns the object.
func (p place) checkWeights(t *testing.T, text, want, when string) *unstructured.Unstructured {
	t.Helper()
	o := p.live(t, text)
	if got := p.shape.render(o); got != want {
		t.Errorf("%s the weights are %q, want %q", when, got, want)
	}
	return o
}

// weights sheds one form twice, and restores it.
func (p place) weights(t *testing.T, f form) {
	text, m := p.text(f), p.manifest(t, f)
	p.must(t, text)
	before := p.live(t, text)
	if f.shed == "" {
		if _, err := p.router.Shed(t.Context(), p.key, m, nil, nil); err == nil {
			t.Error("a shed that leaves no backend must be refused")
		}
		p.checkWeights(t, text, p.shape.render(before), "after the refusal")
		return
	}
	first := p.shed(t, m)
	once := p.checkWeights(t, text, f.shed, "after the shed")
	if f.unchanged && (!reflect.DeepEqual(once.Object["spec"], before.Object["spec"]) || p.shape.render(once) != p.shape.render(before)) {
		t.Errorf("a weight that is already zero is written: %s, then %s", written(before), written(once))
	}
	if _, marked := once.GetAnnotations()["backout.dev/held-weight"]; f.unchanged && !marked {
		t.Errorf("a weight that is already zero is not marked, so that a next step of the ramp would give it traffic: %v", once.GetAnnotations())
	}
	second := p.shed(t, m)
	if twice := p.live(t, text); written(twice) != written(once) {
		t.Errorf("a second shed writes again: %s, then %s", written(once), written(twice))
	}
	if fmt.Sprint(first) != fmt.Sprint(second) || len(first) == 0 {
		t.Errorf("the second shed returns %v, the first one %v; want the same", second, first)
	}
	routing, err := p.router.Observe(t.Context(), p.key, m, rollback.Stored)
	if err != nil || routing.Open() {
		t.Errorf("after the shed the canary gets nothing: got %+v, %v", routing, err)
	}
	p.restore(t, m)
	after := p.live(t, text)
	if got, want := p.shape.effective(after), p.shape.effective(before); got != want {
		t.Errorf("after the restore the weights are %q, want %q", got, want)
	}
	p.clean(t, after)
}

// written describes backout's writes to an object; controllers write its status at any
// time.
func written(o *unstructured.Unstructured) string {
	text := fmt.Sprintf("generation %d", o.GetGeneration())
	for _, f := range o.GetManagedFields() {
		if f.Manager == "backout" {
			text += fmt.Sprintf(", at %s %s", f.Time, f.FieldsV1)
		}
	}
	return text
}

// effective is render with the default weights written out, because a restore may write
// them.
func (s shape) effective(o *unstructured.Unstructured) string {
	text := s.render(o)
	if !strings.Contains(text, "-") || s.takeovers == nil || s.name == "Ingress" && text != "-" {
		return text
	}
	one := "1"
	if strings.HasPrefix(s.name, "VirtualService") || s.name == "Ingress" || s.name == "HTTPProxy" && text != "- -" {
		one = "0"
	}
	return strings.ReplaceAll(text, "-", one)
}

// clean checks that nothing of a hold remains on the object.
func (p place) clean(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	for _, name := range []string{heldWeight, heldRules} {
		if value, ok := o.GetAnnotations()[name]; ok {
			t.Errorf("the annotation of the held weights is still there: %s=%s", name, value)
		}
	}
	for _, f := range o.GetManagedFields() {
		if f.Manager == "backout" && strings.Contains(f.FieldsV1.String(), "f:spec") {
			t.Errorf("backout still owns fields: %s", f.FieldsV1)
		}
	}
}

// observe observes the takeover backends before and after their pods are ready.
func (p place) observe(t *testing.T) {
	f := p.shape.forms[percent]
	m := p.manifest(t, f)
	p.must(t, p.text(f))
	observe := func(ctx context.Context) rollback.Routing {
		r, err := p.router.Observe(ctx, p.key, m, rollback.Stored)
		if err != nil && ctx.Err() == nil {
			t.Fatalf("observe: %v", err)
		}
		return r
	}
	if p.shape.takeovers == nil {
		eventually(t.Context(), t, "four pods can take over from one", func(ctx context.Context) bool {
			r := observe(ctx)
			return r.NoStable == "" && r.Load == 1.25
		})
		return
	}
	if r := observe(t.Context()); r.NoStable == "" || !r.Open() {
		t.Errorf("without a ready pod, no backend can take over: got %+v", r)
	}
	p.must(t, fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: stable}
spec: {selector: {matchLabels: {app: shop, track: stable}}, template: {metadata: {labels: {app: shop, track: stable}}, spec: {containers: [{name: shop, image: "%s:v1", env: [{name: %s, value: sleep}]}]}}}`, podImage, role))
	eventually(t.Context(), t, "a ready pod can take over", func(ctx context.Context) bool { return observe(ctx).NoStable == "" })
	if r := observe(t.Context()); r.Load != 1.25 {
		t.Errorf("a backend with 80%% that takes over 20%% has 1.25 times the load: got %g", r.Load)
	}
}

// conflicts sheds while another client writes the object all the time.
func (p place) conflicts(t *testing.T) {
	f := p.shape.forms[percent]
	text, m := p.text(f), p.manifest(t, f)
	p.must(t, text)
	o := p.live(t, text)
	ctx, stop := context.WithCancel(t.Context())
	written := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			_, _ = p.resource(o).Patch(ctx, o.GetName(), types.MergePatchType,
				fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/touched":"%d"}}}`, n), metav1.PatchOptions{})
		}
		written <- n
	}()
	const times = 20
	began := time.Now()
	for range times {
		p.shed(t, m)
		p.checkWeights(t, text, f.shed, "after the shed")
		p.restore(t, m)
	}
	took := time.Since(began)
	stop()
	t.Logf("%d sheds and restores in %s, in parallel with %d writes of another client", times, took.Round(time.Millisecond), <-written)
	if got := p.shape.render(p.live(t, text)); got != p.shape.render(o) {
		t.Errorf("after the last restore the weights are %q, want %q", got, p.shape.render(o))
	}
}

// foreign checks a tool that applies server-side, as Helm 4 does: it gets a conflict while
// the weight is held, and none afterwards.
func (p place) foreign(t *testing.T) {
	f, next := p.shape.forms[percent], p.shape.forms[other]
	text, m := p.text(f), p.manifest(t, f)
	p.must(t, text)
	p.shed(t, m)
	if err := p.apply(t, p.text(next)); !apierrors.IsConflict(err) {
		t.Errorf("an apply of another weight conflicts with a held one: got %v", err)
	}
	p.checkWeights(t, text, f.shed, "after the refused apply")
	p.restore(t, m)
	p.clean(t, p.live(t, text))
	if err := p.apply(t, p.text(next)); err != nil {
		t.Errorf("after the restore an apply of another weight does not conflict: got %v", err)
	}
	for _, w := range p.shed(t, p.manifest(t, next)) {
		if w.FieldManager != "helm" {
			t.Errorf("the field manager of %s/%s, which will get a conflict, is %q, want helm", w.Kind, w.Name, w.FieldManager)
		}
	}
	p.checkWeights(t, text, next.shed, "after the second shed")
}

// operations mixes rollbacks and upgrades of helm with sheds and restores: the live
// weights are those that the revision declares.
func (p place) operations(t *testing.T) {
	first, second := p.shape.forms[percent], p.shape.forms[other]
	declared := func(f form) string {
		// The weights as the API server stores them, in another place.
		q := p.place(t, p.shape)
		q.must(t, q.text(f))
		return q.shape.render(q.live(t, q.text(f)))
	}
	want := map[string]string{percent: declared(first), other: declared(second)}
	p.upgrade(t, p.text(first))
	p.upgrade(t, p.text(second))
	p.shed(t, p.manifest(t, second))
	p.run(t, "rollback", p.key.Release, "1")
	p.restore(t, p.manifest(t, first))
	p.clean(t, p.checkWeights(t, p.text(first), want[percent], "after a rollback and a restore"))

	p.shed(t, p.manifest(t, first))
	p.upgrade(t, p.text(first))
	p.restore(t, p.manifest(t, first))
	p.clean(t, p.checkWeights(t, p.text(first), want[percent], "after an upgrade to the same weights and a restore"))

	p.upgrade(t, p.text(second))
	p.checkWeights(t, p.text(second), want[other], "after an upgrade of restored weights")
	p.shed(t, p.manifest(t, second))
	p.run(t, "rollback", p.key.Release, "1")
	p.restore(t, p.manifest(t, first))
	p.upgrade(t, p.text(second))
	p.clean(t, p.checkWeights(t, p.text(second), want[other], "after a rollback, a restore and an upgrade"))
}

// found checks a canary that is a release of its own: the route belongs to another release.
func (p place) found(t *testing.T) {
	f := p.shape.forms[percent]
	text := p.text(f)
	p.must(t, text)
	var own rollback.Manifest
	for _, object := range p.manifest(t, f) {
		o := &unstructured.Unstructured{Object: object}
		if o.GetName() == "shop-canary" && o.GetKind() != "Ingress" || o.GetKind() == "DestinationRule" {
			own = append(own, object)
		}
	}
	before := p.shape.render(p.live(t, text))
	if weights := p.shed(t, own); len(weights) != 1 {
		t.Fatalf("the shed must find the route: got %v", weights)
	}
	p.checkWeights(t, text, f.shed, "after the shed")
	p.restore(t, own)
	p.clean(t, p.checkWeights(t, text, before, "after the restore"))
}

// autoscaled is a canary whose pods an autoscaler has multiplied: it leaves the zero
// alone, and gets back what it had.
func (p place) autoscaled(t *testing.T) {
	f := p.shape.forms[percent]
	text := p.text(f)
	scaled := text + `
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop-canary}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop-canary}, minReplicas: 1, maxReplicas: 5}`
	p.must(t, scaled)
	o := p.live(t, text)
	if _, err := p.resource(o).Patch(t.Context(), o.GetName(), types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	m := decode(t, scaled)
	p.shed(t, m)
	eventually(t.Context(), t, "the autoscaler says that it is off", func(ctx context.Context) bool {
		h, err := p.client.AutoscalingV2().HorizontalPodAutoscalers(p.key.Namespace).Get(ctx, "shop-canary", metav1.GetOptions{})
		return err == nil && slices.ContainsFunc(h.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
			return c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionFalse && c.Reason == "ScalingDisabled"
		})
	})
	p.checkWeights(t, text, "0", "after the autoscaler has looked")
	p.restore(t, m)
	p.clean(t, p.checkWeights(t, text, "3", "after the restore"))
}
