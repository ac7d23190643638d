package traffic_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upcommerce/backout/rollback"
)

func TestHold(t *testing.T) {
	router, _ := newRouter(t)
	for _, c := range []struct {
		rule           string
		declared, want map[string]string
	}{
		{"a canary's weight is zero", map[string]string{canary: "true", weight: "20"}, map[string]string{canary: "true", weight: "0"}},
		{"a canary without a weight gets an explicit zero", map[string]string{canary: "true"}, map[string]string{canary: "true", weight: "0"}},
		{"a stable route is left alone", map[string]string{weight: "20"}, map[string]string{weight: "20"}},
		{"a canary that is switched off is left alone", map[string]string{canary: "false", weight: "20"}, map[string]string{canary: "false", weight: "20"}},
		{"an Ingress without annotations is left alone", nil, nil},
	} {
		got := declare("web-canary", c.declared)
		hold, err := router.Hold(t.Context(), shop(), rollback.Manifest{declare("web-canary", c.declared)})
		if err != nil {
			t.Fatal(err)
		}
		hold(got)
		if diff := cmp.Diff(declare("web-canary", c.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
	hold, err := router.Hold(t.Context(), shop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []rollback.Object{
		{}, {"kind": "Ingress"}, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"annotations": map[string]any{canary: "true"}}},
	} {
		before := fmt.Sprint(other)
		if hold(other); fmt.Sprint(other) != before {
			t.Errorf("an object that is not a canary route is left alone: got %v, had %s", other, before)
		}
	}
}
