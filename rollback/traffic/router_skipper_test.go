package traffic

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// A path at which nothing but the canary has a weight is named: the zero does not count there.
func TestSkipperPathWithTheCanaryAlone(t *testing.T) {
	text := strings.Replace(skipperIngress(`{"shop": 80, "shop-canary": 20}`), "paths: [", "paths: [{path: /beta, backend: {service: {name: shop-canary}}}, ", 1)
	client := cluster(t, text)
	changed, err := routerOn(client).Shed(t.Context(), shop(), manifest(t, canaryService, text), nil, nil)
	if err != nil || len(changed) != 1 || !strings.Contains(changed[0].Name, "shop.example/beta leads only to the canary and is left alone") {
		t.Errorf("got %v, %v", changed, err)
	}
	if got, want := liveObject(t, client, object(t, text)).GetAnnotations()[weightsAnnotation], `{"shop":100,"shop-canary":0}`; got != want {
		t.Errorf("after the shed the weights are %s, want %s", got, want)
	}
}

// A backend that gets its weight by the shed serves its path.
func TestSkipperWithoutWeights(t *testing.T) {
	text := skipperIngress(`{}`)
	client := cluster(t, text)
	changed, err := routerOn(client).Shed(t.Context(), shop(), manifest(t, canaryService, text), nil, nil)
	if err != nil || rollback.FormatWeights(changed) != "Ingress/shop 1 -> 0" {
		t.Errorf("got %v, %v", changed, err)
	}
}

// Fractions are written as whole numbers, and come back as they were declared.
func TestSkipperFractionsComeBack(t *testing.T) {
	const declared = `{"shop": 0.8, "shop-canary": 0.2}`
	text := skipperIngress(declared)
	client := cluster(t, text)
	r, m := routerOn(client), manifest(t, canaryService, text)
	if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := liveObject(t, client, object(t, text)).GetAnnotations()[weightsAnnotation]; got != `{"shop":1000,"shop-canary":0}` {
		t.Errorf("after the shed the weights are %s", got)
	}
	if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
		t.Fatal(err)
	}
	if got := liveObject(t, client, object(t, text)).GetAnnotations()[weightsAnnotation]; got != declared {
		t.Errorf("after the restore the weights are %s, want %s", got, declared)
	}
}

// Without another weight nothing is shed.
func TestSkipperWithoutAnotherWeight(t *testing.T) {
	text := skipperIngress(`{"shop": 0, "shop-canary": 20}`)
	client := cluster(t, text)
	if _, err := routerOn(client).Shed(t.Context(), shop(), manifest(t, canaryService, text), nil, nil); err == nil {
		t.Error("a shed that leaves no backend must be refused")
	}
	if got := liveObject(t, client, object(t, text)).GetAnnotations()[weightsAnnotation]; got != `{"shop": 0, "shop-canary": 20}` {
		t.Errorf("the weights are %s", got)
	}
}
