package traffic

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// Header and cookie rules lead to the canary whatever the weight is: the shed removes them,
// and the restore brings back those that the release declares.
func TestIngressRules(t *testing.T) {
	const (
		prefix  = "nginx.ingress.kubernetes.io/"
		header  = prefix + "canary-by-header"
		value   = prefix + "canary-by-header-value"
		pattern = prefix + "canary-by-header-pattern"
		cookie  = prefix + "canary-by-cookie"
		rules   = "backout.dev/held-rules"
	)
	ingress := func(annotations map[string]string) rollback.Object {
		o := &unstructured.Unstructured{Object: object(t, canaryIngress(""))}
		all := o.GetAnnotations()
		maps.Copy(all, annotations)
		o.SetAnnotations(all)
		return o.Object
	}
	base := map[string]string{canaryFlag: "true"}
	with := func(annotations map[string]string) map[string]string {
		all := maps.Clone(base)
		maps.Copy(all, annotations)
		return all
	}
	for name, c := range map[string]struct {
		live, shed map[string]string
		from       string
	}{
		"a header": {
			map[string]string{weightAnnotation: "20", header: "x-canary"},
			map[string]string{weightAnnotation: "0", heldAnnotation: "20 and header x-canary", rules: `{"` + header + `":"x-canary"}`},
			"20 and header x-canary",
		},
		"a header with a value, without a weight": {
			map[string]string{header: "x-canary", value: "yes"},
			map[string]string{weightAnnotation: "0", heldAnnotation: "0 and header x-canary", rules: `{"` + header + `":"x-canary","` + value + `":"yes"}`},
			"0 and header x-canary",
		},
		"a pattern and a cookie with a weight of zero": {
			map[string]string{weightAnnotation: "0", header: "x-canary", pattern: "y.*", cookie: "beta"},
			map[string]string{weightAnnotation: "0", heldAnnotation: "0 and header x-canary and cookie beta", rules: `{"` + cookie + `":"beta","` + header + `":"x-canary","` + pattern + `":"y.*"}`},
			"0 and header x-canary and cookie beta",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := ingress(c.live)
			client := cluster(t, string(must(yaml.Marshal(o))))
			r := routerOn(client)
			m := rollback.Manifest{ingress(c.live)}
			for range 2 {
				changed, err := r.Shed(t.Context(), shop(), m, nil, nil)
				if err != nil || len(changed) != 1 || changed[0].From != c.from || changed[0].To != "0" {
					t.Errorf("got %v, %v; want %s -> 0", changed, err, c.from)
				}
				if diff := cmp.Diff(with(c.shed), liveObject(t, client, o).GetAnnotations()); diff != "" {
					t.Errorf("after the shed (-want +got):\n%s", diff)
				}
			}
			held := ingress(c.live)
			newRegistry().holdIn(m, rollback.Track{}, nil)(held)
			if diff := cmp.Diff(with(map[string]string{weightAnnotation: "0"}), (&unstructured.Unstructured{Object: held}).GetAnnotations()); diff != "" {
				t.Errorf("the object that Helm writes (-want +got):\n%s", diff)
			}
			if _, err := r.Restore(t.Context(), shop(), rollback.Manifest{ingress(map[string]string{weightAnnotation: "5"})}, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(with(map[string]string{weightAnnotation: "5"}), liveObject(t, client, o).GetAnnotations()); diff != "" {
				t.Errorf("restored to a target without rules (-want +got):\n%s", diff)
			}
			if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
				t.Fatal(err)
			}
			want := with(c.live)
			want[weightAnnotation] = strings.Fields(c.from)[0]
			if diff := cmp.Diff(want, liveObject(t, client, o).GetAnnotations()); diff != "" {
				t.Errorf("restored to a target with the rules (-want +got):\n%s", diff)
			}
		})
	}
}
